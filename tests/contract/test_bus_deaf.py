"""A bus that hears nothing though its connection is up says so in time, with the reason; and is mended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reworker.bus.canary import CanarySettings
from reworker.bus.connection import PikaBus
from reworker.bus.contract import DeclareMode, publish_and_wait
from reworker.config import mq_settings
from tests.support.beds import (
    PATIENCE_S,
    QUEUE,
    TOPOLOGY,
    Inbox,
    NetworkBed,
    consuming,
    outgoing,
    wait_connected,
    wait_consuming,
)
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

#: seconds between two messages of the canary here.
EVERY_S = 0.3
CANARY = "bed.canary"


@pytest.fixture
def watched(network_bed: NetworkBed) -> Iterator[PikaBus]:
    """Give an open bus with a canary, and the topology declared."""
    settings = mq_settings(network_bed.proxy.url(network_bed.url))
    made = PikaBus(settings, rand=lambda: 0.0, canary=CanarySettings(CANARY, EVERY_S))
    made.open(timeout_s=PATIENCE_S)
    made.declare(TOPOLOGY)
    yield made
    made.close(deadline_s=0)


def wait_for_reason(bus: PikaBus, words: str) -> None:
    """Wait until the bus says that it is deaf, in these words."""
    wait_until(lambda: bus.health().is_deaf and words in bus.health().deaf_reason, PATIENCE_S, words)


def test_bus_hears_itself_when_all_is_well(watched: PikaBus, network_bed: NetworkBed) -> None:
    consuming(watched)
    canary = watched._engine.canary
    assert canary
    wait_until(lambda: canary._number >= 3, PATIENCE_S, "three messages to itself")
    wait_until(lambda: not watched.health().is_deaf, PATIENCE_S)
    health = watched.health()
    assert (health.active_consumer_count, health.wanted_consumer_count) == (1, 1)
    assert network_bed.message_count(QUEUE) == 0


def test_bus_is_deaf_when_nothing_comes_through_though_the_connection_is_up(
    watched: PikaBus, network_bed: NetworkBed
) -> None:
    inbox = consuming(watched)
    network_bed.silence()
    wait_for_reason(watched, "did not confirm a test message")
    assert watched.health().active_consumer_count == 1
    # It is given up after a while; the next connection goes through the same silence.
    wait_until(lambda: not watched.health().is_connected, PATIENCE_S, "another connection to be tried")
    network_bed.end_silence()
    wait_connected(watched, 1)
    wait_until(lambda: not watched.health().is_deaf, PATIENCE_S, "the broker to be heard again")
    wait_consuming(watched)
    publish_and_wait(watched, outgoing(b"after"))
    assert inbox.wait_for(1)[0].body == b"after"


def test_nobody_is_accused_when_the_broker_blocks_at_the_message_of_a_quiet_bus(
    watched: PikaBus, network_bed: NetworkBed, caplog: pytest.LogCaptureFixture
) -> None:
    canary = watched._engine.canary
    assert canary
    wait_until(lambda: canary._number >= 2, PATIENCE_S, "messages to itself")
    network_bed.block()
    try:
        wait_until(lambda: watched.health().is_blocked, PATIENCE_S, "the broker to block")
        number = canary._number
        wait_until(lambda: canary._number >= number + 4, PATIENCE_S, "looks at a blocked broker")
    finally:
        network_bed.unblock()
    wait_until(lambda: not watched.health().is_blocked, PATIENCE_S, "the broker to go on")
    number = canary._number
    wait_until(lambda: canary._number >= number + 2, PATIENCE_S, "messages to itself again")
    assert "test message" not in caplog.text
    assert not watched.health().is_deaf
    assert watched.health().reconnect_count == 0


def test_bus_hears_again_when_the_queue_of_its_canary_was_deleted(
    watched: PikaBus, network_bed: NetworkBed
) -> None:
    canary = watched._engine.canary
    wait_until(lambda: canary is not None and canary.consumer is not None, PATIENCE_S)
    assert canary
    assert canary.consumer
    consumer = canary.consumer
    wait_until(lambda: consumer.is_active, PATIENCE_S)
    # Exclusive to its connection, so only a failure of the broker takes it; ours may as well.
    watched._engine.call_soon(lambda: consumer._channel.queue_delete(CANARY))  # type: ignore[attr-defined]  # of a Subscription
    wait_until(lambda: not consumer.is_active, PATIENCE_S)
    wait_until(lambda: consumer.is_active, PATIENCE_S, "the queue to be declared again")
    number = canary._number
    wait_until(lambda: canary._number >= number + 2, PATIENCE_S)
    wait_until(lambda: not watched.health().is_deaf, PATIENCE_S)


def test_bus_is_deaf_when_its_queue_was_deleted_and_does_not_come_back(network_bed: NetworkBed) -> None:
    owner, bus = network_bed.new_bus("owner"), network_bed.new_bus()
    owner.open(timeout_s=PATIENCE_S)
    owner.declare(TOPOLOGY)
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY, DeclareMode.VERIFY)
    inbox = consuming(bus)
    network_bed.delete_queue(QUEUE)
    wait_for_reason(bus, f"no queue '{QUEUE}'")
    owner.declare(TOPOLOGY)
    wait_consuming(bus)
    wait_until(lambda: not bus.health().is_deaf, PATIENCE_S)
    publish_and_wait(owner, outgoing(b"after"))
    assert inbox.wait_for(1)[0].body == b"after"


@pytest.mark.rabbitmq
def test_bus_is_deaf_when_its_permission_was_withdrawn(rabbitmq: RabbitMQNode, rabbitmq_url: str) -> None:
    vhost = rabbitmq_url.rpartition("/")[2]
    rabbitmq.evaluate('rabbit_auth_backend_internal:add_user(<<"deaf">>, <<"secret">>, <<"test">>)')

    def permit(read: str) -> None:
        rabbitmq.evaluate(
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"deaf">>, <<"{vhost}">>, '
            f'<<".*">>, <<".*">>, <<"{read}">>, <<"test">>)'
        )

    permit(".*")
    bed = NetworkBed(rabbitmq_url.replace("guest:guest", "deaf:secret"), lambda: None, lambda: None)
    try:
        bus = bed.new_bus()
        bus.open(timeout_s=PATIENCE_S)
        bus.declare(TOPOLOGY)
        consuming(bus)
        permit("^$")
        bed.cut()  # what a consumer may do is looked at when it begins
        wait_connected(bus, 1)
        wait_for_reason(bus, "ACCESS_REFUSED")
        permit(".*")
        wait_until(lambda: not bus.health().is_deaf, PATIENCE_S, "the consumer to be there again")
        wait_consuming(bus)
    finally:
        bed.close()
        rabbitmq.evaluate('rabbit_auth_backend_internal:delete_user(<<"deaf">>, <<"test">>)')


@pytest.mark.rabbitmq
def test_bus_is_deaf_when_the_queues_of_the_broker_stand_still(
    rabbitmq: RabbitMQNode, rabbitmq_url: str
) -> None:
    vhost = rabbitmq_url.rpartition("/")[2]
    bus = PikaBus(mq_settings(rabbitmq_url), rand=lambda: 0.0, canary=CanarySettings(CANARY, EVERY_S))

    def make_queues(verb: str) -> None:
        queues = f'rabbit_amqqueue:list(<<"{vhost}">>)'
        rabbitmq.evaluate(f"lists:foreach(fun(Q) -> ok = sys:{verb}(amqqueue:get_pid(Q)) end, {queues})")

    bus.open(timeout_s=PATIENCE_S)
    try:
        bus.declare(TOPOLOGY)
        inbox = Inbox()
        bus.consume(QUEUE, inbox, prefetch=1)
        wait_consuming(bus)
        canary = bus._engine.canary
        wait_until(lambda: canary is not None and canary._number > 0, PATIENCE_S)
        make_queues("suspend")
        wait_for_reason(bus, "test message")
        make_queues("resume")
        wait_until(lambda: not bus.health().is_deaf, PATIENCE_S, "the broker to be heard again")
        publish_and_wait(bus, outgoing(b"after"))
        assert inbox.wait_for(1)[0].body == b"after"
    finally:
        bus.close(deadline_s=0)

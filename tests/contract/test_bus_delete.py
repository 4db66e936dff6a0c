"""Deleting a queue that is not needed any more, on every implementation of the bus."""

from __future__ import annotations

import pytest

from reworker.bus.contract import BindingSpec, Bus, Outcome, QueueSpec, TopologySpec, publish_and_wait
from reworker.errors import ConnectionLost
from reworker.topology.code_queues import code_queue, code_topology, delete_code_queue
from tests.support.beds import (
    EXCHANGE,
    PATIENCE_S,
    QUEUE,
    Bed,
    Inbox,
    Outcomes,
    outgoing,
    wait_connected,
    wait_consuming,
)
from tests.support.waiting import wait_until

OLD = "bed.old"


@pytest.fixture
def old(bus: Bus) -> str:
    """Give a queue that nobody uses."""
    bus.declare(TopologySpec(queues=(QueueSpec(OLD),), bindings=(BindingSpec(EXCHANGE, OLD, "old"),)))
    return OLD


def published(bus: Bus, key: str) -> Outcome:
    outcomes = Outcomes()
    bus.publish(outgoing(key=key), outcomes)
    return outcomes.wait_for()[0].outcome


def test_queue_is_gone_for_good_when_it_was_deleted(bus: Bus, bed: Bed, old: str) -> None:
    assert published(bus, "work.a") is Outcome.CONFIRMED
    assert bus.delete(old)
    assert published(bus, "old") is Outcome.RETURNED
    bed.cut()
    wait_connected(bus, 1)
    assert published(bus, "old") is Outcome.RETURNED
    assert published(bus, "work.a") is Outcome.CONFIRMED
    assert bus.delete(old)  # a second time is no error
    bus.declare(TopologySpec(queues=(QueueSpec(old),), bindings=(BindingSpec(EXCHANGE, old, "old"),)))
    assert published(bus, "old") is Outcome.CONFIRMED


def test_queue_stays_when_it_holds_a_message(bus: Bus, bed: Bed, old: str) -> None:
    publish_and_wait(bus, outgoing(b"1", "old"))
    wait_until(lambda: bed.message_count(old) == 1, PATIENCE_S)
    assert not bus.delete(old)
    assert bed.message_count(old) == 1


def test_queue_stays_when_it_has_a_consumer(bus: Bus, bed: Bed) -> None:
    inbox = Inbox()
    bus.consume(QUEUE, inbox, prefetch=1)
    wait_consuming(bus)
    assert not bus.delete(QUEUE)
    publish_and_wait(bus, outgoing(b"1"))
    assert inbox.wait_for(1)[0].body == b"1"


def test_deleting_says_so_when_there_is_no_connection(bus: Bus, bed: Bed, old: str) -> None:
    bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    with pytest.raises(ConnectionLost, match=old):
        bus.delete(old)
    bed.start()
    wait_connected(bus, 1)
    assert bus.delete(old)


def test_queue_of_a_code_goes_when_its_messages_have_gone(bus: Bus, bed: Bed) -> None:
    own_id = "0123456789abcdef01234567"
    bus.declare(code_topology(own_id, "bed.codes"))
    publish_and_wait(bus, outgoing(b"1", code_queue(own_id), exchange="bed.codes"))
    wait_until(lambda: bed.message_count(code_queue(own_id)) == 1, PATIENCE_S)
    assert not delete_code_queue(bus, own_id)
    inbox = Inbox()
    consumer = bus.consume(code_queue(own_id), inbox, prefetch=1)
    inbox.wait_for(1)
    consumer.cancel()
    wait_until(lambda: delete_code_queue(bus, own_id), PATIENCE_S, "the end of the consumer")
    assert published_to(bus, "bed.codes", code_queue(own_id)) is Outcome.RETURNED


def published_to(bus: Bus, exchange: str, key: str) -> Outcome:
    outcomes = Outcomes()
    bus.publish(outgoing(key=key, exchange=exchange), outcomes)
    return outcomes.wait_for()[0].outcome

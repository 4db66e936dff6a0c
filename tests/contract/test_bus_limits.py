"""The limits of RabbitMQ, each version in its way: patience with acknowledgements, deliveries, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pika.exceptions import AMQPError

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    BindingSpec,
    ExchangeSpec,
    Outcome,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.bus.limits import PER_CONSUMER, product_of
from reworker.bus.rota import Rota
from reworker.config import mq_settings
from reworker.drill.worker import AGAIN
from reworker.errors import PublishNotConfirmed
from reworker.jobs.returning import key_of, return_to_queue
from reworker.topology.names import owes_status
from tests.conftest import require_server
from tests.support import rabbitmq as rabbitmq_server
from tests.support.beds import PATIENCE_S, Inbox, Outcomes, outgoing, wait_consuming
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode, without_old_features
from tests.support.system import System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

#: seconds that the server here waits for an acknowledgement.
SERVER_TIMEOUT_S = 2.0
CLASSIC, QUORUM = (
    QueueSpec("limits.classic"),
    QueueSpec("limits.quorum", arguments={"x-queue-type": "quorum"}),
)
#: bytes of the largest message that it takes.
LARGEST_BYTES = 2_000_000
#: returns to a queue after which version 4 takes a message out of it.
DELIVERY_LIMIT_COUNT = 20
KINDS = pytest.mark.parametrize("spec", [CLASSIC, QUORUM], ids=["classic", "quorum"])


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQNode]:
    """Give a server that loses patience quickly."""
    require_server("RabbitMQ", rabbitmq_server.is_installed())
    settings = [f"max_message_size = {LARGEST_BYTES}", *without_old_features()]
    with RabbitMQNode(consumer_timeout_s=SERVER_TIMEOUT_S, settings=settings) as made:
        yield made


@pytest.fixture
def new_bus(node: RabbitMQNode) -> Iterator[Callable[..., PikaBus]]:
    """Give a function that opens a bus, with options of its URL."""
    made: list[PikaBus] = []
    vhost = node.add_vhost()

    def new(options: str = "") -> PikaBus:
        made.append(PikaBus(mq_settings(node.url(vhost) + options), rand=lambda: 0.0))
        made[-1].open(timeout_s=PATIENCE_S)
        made[-1].declare(TopologySpec(queues=(CLASSIC, QUORUM)))
        return made[-1]

    yield new
    for bus in made:
        bus.close(deadline_s=0)
    node.delete_vhost(vhost)


def is_per_consumer(node: RabbitMQNode) -> bool:
    """Tell whether the server lets a consumer say how long it wants."""
    return product_of({"product": "RabbitMQ", "version": node.version}).is_rabbitmq(since=PER_CONSUMER)


def has_come_back(inbox: Inbox) -> bool:
    return len(inbox.deliveries) > 1


@KINDS
def test_consumer_works_on_when_the_broker_has_lost_patience(
    new_bus: Callable[..., PikaBus], node: RabbitMQNode, spec: QueueSpec
) -> None:
    bus, inbox = new_bus(), Inbox()
    bus.consume(spec.name, inbox, prefetch=1)
    publish_and_wait(bus, outgoing(b"1", spec.name, exchange=""))
    (first,) = inbox.wait_for(1)
    if spec is CLASSIC and is_per_consumer(node):
        with pytest.raises(TimeoutError):  # the third way: it never loses patience
            wait_until(lambda: has_come_back(inbox), 3 * SERVER_TIMEOUT_S)
        first.settle(Verdict.ACK)
    else:
        again = inbox.wait_for(2)[1]
        assert (again.body, again.redelivered) == (b"1", True)
        assert again.consumer_tag != first.consumer_tag
        first.settle(Verdict.ACK)  # stale: nothing is sent
        again.settle(Verdict.ACK)
    publish_and_wait(bus, outgoing(b"2", spec.name, exchange=""))
    wait_until(lambda: inbox.bodies[-1] == b"2", PATIENCE_S)
    inbox.deliveries[-1].settle(Verdict.ACK)
    wait_consuming(bus)
    assert not bus.health().is_deaf
    assert bus.health().reconnect_count == 0


@KINDS
def test_consumer_says_in_how_long_to_settle_when_it_does_so_late(
    new_bus: Callable[..., PikaBus], node: RabbitMQNode, spec: QueueSpec
) -> None:
    bus, inbox = new_bus(f"?ack_timeout={SERVER_TIMEOUT_S}"), Inbox()
    consumer = bus.consume(spec.name, inbox, prefetch=1, longest_s=100.0)
    wait_consuming(bus)
    if not is_per_consumer(node):
        assert consumer.ack_within_s == SERVER_TIMEOUT_S * 0.75
        return
    assert consumer.ack_within_s == (None if spec is CLASSIC else 250.0)
    publish_and_wait(bus, outgoing(b"1", spec.name, exchange=""))
    (delivery,) = inbox.wait_for(1)
    with pytest.raises(TimeoutError):  # far beyond the server's own patience
        wait_until(lambda: has_come_back(inbox), 3 * SERVER_TIMEOUT_S)
    delivery.settle(Verdict.ACK)


def test_consumer_of_many_queues_works_on_when_the_broker_has_lost_patience(
    new_bus: Callable[..., PikaBus], node: RabbitMQNode
) -> None:
    bus, inbox, rota = new_bus(), Inbox(), Rota("limits.#")
    consumer = bus.consume_any(rota, inbox, longest_s=None)
    rota.ring(CLASSIC.name)
    publish_and_wait(bus, outgoing(b"1", CLASSIC.name, exchange=""))
    (first,) = inbox.wait_for(1)
    assert consumer.ack_within_s == 1350.0
    if is_per_consumer(node):
        with pytest.raises(TimeoutError):
            wait_until(lambda: has_come_back(inbox), 3 * SERVER_TIMEOUT_S)
        first.settle(Verdict.ACK)
    else:
        wait_until(lambda: consumer.ack_within_s == SERVER_TIMEOUT_S * 0.75, PATIENCE_S, "the lesson")
        rota.sweep()  # what comes back rings no bell
        again = inbox.wait_for(2)[1]
        assert (again.body, again.redelivered) == (b"1", True)
        first.settle(Verdict.ACK)  # stale: nothing is sent
        again.settle(Verdict.ACK)
    publish_and_wait(bus, outgoing(b"2", QUORUM.name, exchange=""))
    rota.ring(QUORUM.name)
    wait_until(lambda: inbox.bodies[-1] == b"2", PATIENCE_S)
    inbox.deliveries[-1].settle(Verdict.ACK)
    assert not bus.health().is_deaf


def test_timeout_of_the_server_is_learnt_when_it_strikes(
    new_bus: Callable[..., PikaBus], node: RabbitMQNode
) -> None:
    if is_per_consumer(node):
        pytest.skip("a consumer chooses for itself there")
    bus, inbox = new_bus(), Inbox()
    consumer = bus.consume(QUORUM.name, inbox, prefetch=1, longest_s=None)
    publish_and_wait(bus, outgoing(b"1", QUORUM.name, exchange=""))
    inbox.wait_for(1)
    assert consumer.ack_within_s == 1350.0
    inbox.wait_for(2)[1].settle(Verdict.ACK)
    assert consumer.ack_within_s == SERVER_TIMEOUT_S * 0.75


@KINDS
def test_message_is_refused_and_nothing_else_is_lost_when_it_is_too_large(
    new_bus: Callable[..., PikaBus], spec: QueueSpec
) -> None:
    bus, inbox, before, after = new_bus(), Inbox(), Outcomes(), Outcomes()
    bus.consume(spec.name, inbox, prefetch=0)
    for _ in range(100):
        bus.publish(outgoing(b"before", spec.name, exchange="", may_resend=False), before)
    with pytest.raises(PublishNotConfirmed, match=f"message size {LARGEST_BYTES + 1} is larger than"):
        publish_and_wait(bus, outgoing(b"x" * (LARGEST_BYTES + 1), spec.name, exchange=""))
    for _ in range(100):
        bus.publish(outgoing(b"after", spec.name, exchange="", may_resend=False), after)
    for outcomes in (before, after):
        assert {one.outcome for one in outcomes.wait_for(100)} == {Outcome.CONFIRMED}
    publish_and_wait(bus, outgoing(b"y" * LARGEST_BYTES, spec.name, exchange=""))
    inbox.wait_for(201)
    assert Counter(body[:1] for body in inbox.bodies) == {b"b": 100, b"a": 100, b"y": 1}
    assert bus.health().reconnect_count == 0


@KINDS
@pytest.mark.parametrize("key", ["worker.limits", "output"])
def test_unbegun_message_stays_however_often_its_worker_is_restarted(
    new_bus: Callable[..., PikaBus], spec: QueueSpec, key: str
) -> None:
    bus, topic = new_bus(), ExchangeSpec("limits")
    bus.declare(TopologySpec((topic,), bindings=(BindingSpec(topic.name, spec.name, key),)))
    publish_and_wait(bus, outgoing(b"kept", key, exchange=topic.name, correlation_id="1"))
    for _ in range(DELIVERY_LIMIT_COUNT + 5):
        inbox = Inbox()
        consumer = bus.consume(spec.name, inbox, prefetch=1)
        (delivery,) = inbox.wait_for(1)
        assert (delivery.body, owes_status(key_of(delivery))) == (b"kept", owes_status(key))
        consumer.cancel()
        return_to_queue(bus, delivery)
    (delivery,) = consuming_from(bus, spec).wait_for(1)
    assert not (owes_status(key) and delivery.redelivered), "nobody was lost who had begun it"
    delivery.settle(Verdict.ACK)


def test_nothing_is_used_that_later_versions_have_given_up(
    node: RabbitMQNode, process: Callable[..., Process], tmp_path: Path
) -> None:
    if not without_old_features():
        pytest.skip("version 3 cannot forbid it")
    url = node.url(node.add_vhost())
    with pytest.raises(AMQPError, match="transient_nonexcl_queues"):
        pika.BlockingConnection(pika.URLParameters(url)).channel().queue_declare("transient")
    system = System(process, url, tmp_path)
    try:
        system.run(instances=1)
        system.submit(AGAIN, hosts=["a"], step_count=1)
        assert check_all(system) == {"completed": 1}
        assert "cannot" not in system.worker.output + system.core.output
    finally:
        system.close()


def consuming_from(bus: PikaBus, spec: QueueSpec) -> Inbox:
    inbox = Inbox()
    bus.consume(spec.name, inbox, prefetch=1)
    return inbox

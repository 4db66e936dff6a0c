"""Pulling instead of being pushed, on every implementation of the bus."""

from __future__ import annotations

import threading

import pytest

from reworker.bus.contract import Bus, Delivery, Verdict, publish_and_wait
from tests.support.beds import PATIENCE_S, QUEUE, TOPOLOGY, Bed, Outcomes, outgoing, publish_all
from tests.support.waiting import wait_until

EVERY_S = 0.05


class Kept:
    """Keeps what arrives, unsettled."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def __call__(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    def wait_for(self, count: int) -> list[Delivery]:
        wait_until(lambda: len(self.deliveries) >= count, PATIENCE_S)
        return self.deliveries

    @property
    def bodies(self) -> list[bytes]:
        return [one.body for one in self.deliveries]


def ticks(bus: Bus, count: int) -> None:
    """Wait until a consumer that only looks has pulled so often since, as a clock for the others."""
    done = threading.Event()
    left = [count]

    def on_delivery(delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        left[0] -= 1
        if not left[0]:
            done.set()

    consumer = bus.consume("bed.dead", on_delivery, prefetch=1, every_s=EVERY_S)
    for _ in range(count):
        publish_and_wait(bus, outgoing(exchange="bed.dead", key=""))
    assert done.wait(PATIENCE_S)
    consumer.cancel()


def test_one_message_at_a_time_is_pulled_when_each_is_settled(bus: Bus) -> None:
    publish_all(bus, [b"1", b"2", b"3"])
    got, most = Kept(), [0]

    def on_delivery(delivery: Delivery) -> None:
        got(delivery)
        most[0] = max(most[0], len(got.deliveries))
        delivery.settle(Verdict.ACK)

    consumer = bus.consume(QUEUE, on_delivery, prefetch=1, every_s=EVERY_S)
    got.wait_for(3)
    assert got.bodies == [b"1", b"2", b"3"]
    delivery = got.deliveries[0]
    assert (delivery.exchange, delivery.routing_key, delivery.queue) == ("bed", "work.a", QUEUE)
    assert consumer.is_active


def test_nothing_is_pulled_while_a_message_is_unsettled(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"1", b"2"])
    kept = Kept()
    bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    (first,) = kept.wait_for(1)
    ticks(bus, 4)
    assert kept.bodies == [b"1"]
    assert bed.message_count(QUEUE) == 1
    first.settle(Verdict.ACK)
    kept.wait_for(2)


@pytest.mark.parametrize("verdict", [Verdict.REQUEUE, Verdict.DEAD_LETTER])
def test_pulled_message_goes_where_its_verdict_says(bus: Bus, bed: Bed, verdict: Verdict) -> None:
    publish_all(bus, [b"1"])
    kept = Kept()
    consumer = bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    kept.wait_for(1)[0].settle(verdict)
    if verdict is Verdict.DEAD_LETTER:
        wait_until(lambda: bed.message_count("bed.dead") == 1, PATIENCE_S)
    else:
        assert kept.wait_for(2)[1].redelivered
    consumer.cancel()


def test_pull_is_active_when_its_queue_is_there(bus: Bus, bed: Bed) -> None:
    consumer = bus.consume(QUEUE, Kept(), prefetch=1, every_s=EVERY_S)
    wait_until(lambda: consumer.is_active, PATIENCE_S)
    assert not bus.health().is_deaf
    missing = bus.consume("no.such", Kept(), prefetch=1, every_s=EVERY_S)
    ticks(bus, 2)
    assert not missing.is_active
    assert bus.health().is_deaf


def test_no_message_is_pulled_when_cancelled(bus: Bus, bed: Bed) -> None:
    kept = Kept()
    consumer = bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    wait_until(lambda: consumer.is_active, PATIENCE_S)
    consumer.cancel()
    consumer.cancel()
    wait_until(lambda: not consumer.is_active, PATIENCE_S)
    publish_all(bus, [b"1"])
    ticks(bus, 4)
    assert [one.body for one in kept.deliveries] == []
    assert bed.message_count(QUEUE) == 1


def test_pulled_message_can_be_settled_when_cancelled_since(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"1", b"2"])
    kept = Kept()
    consumer = bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    (first,) = kept.wait_for(1)
    consumer.cancel()
    first.settle(Verdict.ACK)
    bus.close()
    again = Kept()
    other = bed.new_bus()
    other.open(timeout_s=PATIENCE_S)
    other.consume(QUEUE, again, prefetch=0)
    again.wait_for(1)
    assert [(one.body, one.redelivered) for one in again.deliveries] == [(b"2", False)]


def test_pull_goes_on_when_the_connection_was_lost(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"1"])
    kept = Kept()
    consumer = bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    stale = kept.wait_for(1)[0]
    bed.cut()
    again = kept.wait_for(2)[1]
    assert (again.body, again.redelivered) == (b"1", True)
    stale.settle(Verdict.ACK)
    again.settle(Verdict.ACK)
    wait_until(lambda: consumer.is_active, PATIENCE_S)


def test_pull_goes_on_when_its_queue_was_deleted(bus: Bus, bed: Bed) -> None:
    kept = Kept()
    consumer = bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    wait_until(lambda: consumer.is_active, PATIENCE_S)
    bed.delete_queue(QUEUE)
    bus.declare(TOPOLOGY)
    results = Outcomes()
    bus.publish(outgoing(b"after"), results)
    assert kept.wait_for(1)[0].body == b"after"


def test_large_message_arrives_whole_when_pulled(bus: Bus) -> None:
    kept = Kept()
    publish_and_wait(bus, outgoing(b"x" * 300_000, headers={"text": "höst"}, correlation_id="7.1"))
    bus.consume(QUEUE, kept, prefetch=1, every_s=EVERY_S)
    (delivery,) = kept.wait_for(1)
    assert delivery.body == b"x" * 300_000
    assert (delivery.properties.headers, delivery.properties.correlation_id) == ({"text": "höst"}, "7.1")

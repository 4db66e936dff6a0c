"""Taking messages only while somebody waits, on every implementation of the bus."""

from __future__ import annotations

import threading

import pytest

from reworker.bus.contract import Bus, Delivery, OnDemandConsumer, QueueSpec, TopologySpec, Verdict
from tests.support.beds import PATIENCE_S, QUEUE, TOPOLOGY, Bed, outgoing, publish_all, wait_connected
from tests.support.waiting import wait_until

#: how often the queue is looked at, in vain, to see that nothing is taken.
LOOKS_COUNT = 3


class Waiting:
    """So many who wait; each delivery serves one of them."""

    def __init__(self, bus: Bus, queue: str = QUEUE) -> None:
        self.deliveries: list[Delivery] = []
        self.empty_count = 0
        self.lost: list[int] = []
        self._lock, self._count, self._stays = threading.Lock(), 0, True
        self.consumer: OnDemandConsumer = bus.consume_on_demand(queue, self._on_delivery, self)

    def ask(self, count: int, *, stays: bool = True) -> None:
        """Let so many more wait, or only look."""
        with self._lock:
            self._count, self._stays = self._count + count, stays
        self.consumer.look()

    def leave(self) -> None:
        """Let nobody wait."""
        with self._lock:
            self._count = 0
        self.consumer.look()

    def look(self) -> None:
        """Ask once, without waiting, until the answer is there: empty."""
        before = self.empty_count
        self.ask(1, stays=False)
        wait_until(lambda: self.empty_count > before, PATIENCE_S, "an empty queue")

    def wanted_count(self) -> int:
        return self._count

    def on_empty(self) -> None:
        with self._lock:
            self.empty_count += 1
            self._count = self._count if self._stays else 0

    def on_begun(self, lost_count: int) -> None:
        self.lost.append(lost_count)

    def _on_delivery(self, delivery: Delivery) -> None:
        with self._lock:
            self._count = max(0, self._count - 1)
            self.deliveries.append(delivery)

    def wait_for(self, count: int) -> list[Delivery]:
        wait_until(lambda: len(self.deliveries) >= count, PATIENCE_S, f"{count} deliveries")
        return list(self.deliveries)

    @property
    def bodies(self) -> list[bytes]:
        return [one.body for one in list(self.deliveries)]


def test_as_many_are_taken_as_are_asked_for(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"%d" % number for number in range(9)]).wait_for(9)
    waiting = Waiting(bus)
    waiting.ask(5)
    waiting.wait_for(5)
    assert waiting.bodies == [b"0", b"1", b"2", b"3", b"4"]
    wait_until(lambda: bed.message_count(QUEUE) == 4, PATIENCE_S)
    delivery = waiting.deliveries[0]
    assert (delivery.exchange, delivery.routing_key, delivery.queue) == ("bed", "work.a", QUEUE)
    assert not delivery.redelivered


def test_nothing_is_taken_while_nobody_asks(bus: Bus, bed: Bed) -> None:
    waiting = Waiting(bus)
    wait_until(lambda: waiting.consumer.is_active, PATIENCE_S)
    publish_all(bus, [b"1"]).wait_for(1)
    waiting.consumer.look()
    waiting.ask(0)
    waiting.ask(1)
    assert waiting.wait_for(1)[0].body == b"1"
    publish_all(bus, [b"2"]).wait_for(1)
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    assert waiting.bodies == [b"1"]


def test_who_waits_gets_what_is_published_later(bus: Bus) -> None:
    waiting = Waiting(bus)
    waiting.ask(3)
    wait_until(lambda: waiting.empty_count, PATIENCE_S)
    publish_all(bus, [b"1", b"2", b"3", b"4"])
    waiting.wait_for(3)
    assert waiting.bodies == [b"1", b"2", b"3"]
    waiting.ask(1)
    assert waiting.wait_for(4)[3].body == b"4"


def test_who_does_not_wait_is_told_that_there_is_nothing(bus: Bus, bed: Bed) -> None:
    waiting = Waiting(bus)
    for _ in range(LOOKS_COUNT):
        waiting.look()
    publish_all(bus, [b"1"]).wait_for(1)
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    assert waiting.deliveries == []


def test_who_does_not_wait_is_told_so_while_others_wait(bus: Bus) -> None:
    waiting = Waiting(bus)
    waiting.ask(1)
    wait_until(lambda: waiting.empty_count, PATIENCE_S)
    before = waiting.empty_count
    waiting.ask(1)
    wait_until(lambda: waiting.empty_count > before, PATIENCE_S)
    publish_all(bus, [b"1", b"2"])
    waiting.wait_for(2)


def test_nothing_is_taken_when_who_waited_has_left(bus: Bus, bed: Bed) -> None:
    waiting = Waiting(bus)
    for _ in range(LOOKS_COUNT):
        waiting.ask(2)
        seen = waiting.empty_count
        waiting.leave()
        waiting.ask(1, stays=False)
        wait_until(lambda seen=seen: waiting.empty_count > seen, PATIENCE_S)  # type: ignore[misc]  # bound on purpose
    publish_all(bus, [b"1"]).wait_for(1)
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    assert waiting.deliveries == []
    waiting.ask(1)
    waiting.wait_for(1)


def test_unsettled_messages_keep_nothing_from_being_taken(bus: Bus) -> None:
    waiting = Waiting(bus)
    for number in range(6):
        waiting.ask(1)
        publish_all(bus, [b"%d" % number])
        waiting.wait_for(number + 1)
    for delivery in waiting.deliveries:
        delivery.settle(Verdict.ACK)
    assert waiting.bodies == [b"0", b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("verdict", [Verdict.REQUEUE, Verdict.DEAD_LETTER])
def test_message_goes_where_its_verdict_says(bus: Bus, bed: Bed, verdict: Verdict) -> None:
    waiting = Waiting(bus)
    waiting.ask(1)
    publish_all(bus, [b"1"])
    waiting.wait_for(1)[0].settle(verdict)
    if verdict is Verdict.DEAD_LETTER:
        wait_until(lambda: bed.message_count("bed.dead") == 1, PATIENCE_S)
    else:
        waiting.ask(1)
        assert waiting.wait_for(2)[1].redelivered


def test_loss_of_the_connection_is_told_with_what_was_unsettled(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"1", b"2", b"3"]).wait_for(3)
    waiting = Waiting(bus)
    waiting.ask(3)
    first = waiting.wait_for(3)[0]
    first.settle(Verdict.ACK)
    other = Waiting(bus)
    other.look()
    bed.cut()
    wait_connected(bus, 1)
    wait_until(lambda: len(waiting.lost) == 2, PATIENCE_S)
    assert waiting.lost == [0, 2]
    waiting.ask(2)
    again = waiting.wait_for(5)[3:]
    assert [(one.body, one.redelivered) for one in again] == [(b"2", True), (b"3", True)]
    waiting.deliveries[1].settle(Verdict.ACK)
    for one in again:
        one.settle(Verdict.ACK)
    other.look()
    assert bed.message_count(QUEUE) == 0


def test_who_waited_before_the_connection_was_lost_waits_on(bus: Bus, bed: Bed) -> None:
    waiting = Waiting(bus)
    waiting.ask(2)
    wait_until(lambda: waiting.empty_count, PATIENCE_S)
    bed.cut()
    wait_connected(bus, 1)
    publish_all(bus, [b"1", b"2"])
    waiting.wait_for(2)


def test_who_waited_for_a_queue_that_was_deleted_waits_on(bus: Bus, bed: Bed) -> None:
    waiting = Waiting(bus)
    waiting.ask(1)
    wait_until(lambda: waiting.empty_count, PATIENCE_S)
    bed.delete_queue(QUEUE)
    bus.declare(TOPOLOGY)
    bus.publish(outgoing(b"after"))
    assert waiting.wait_for(1)[0].body == b"after"


def test_cancelled_consumer_takes_nothing_and_its_messages_can_be_settled(bus: Bus, bed: Bed) -> None:
    publish_all(bus, [b"1", b"2"]).wait_for(2)
    waiting = Waiting(bus)
    waiting.ask(1)
    (first,) = waiting.wait_for(1)
    waiting.ask(0)
    waiting.consumer.cancel()
    waiting.consumer.cancel()
    wait_until(lambda: not waiting.consumer.is_active, PATIENCE_S)
    waiting.ask(1)
    first.settle(Verdict.ACK)
    bus.close()
    other = bed.new_bus()
    other.open(timeout_s=PATIENCE_S)
    again = Waiting(other)
    again.ask(2)
    again.wait_for(1)
    assert [(one.body, one.redelivered) for one in again.deliveries] == [(b"2", False)]


def test_large_message_arrives_whole_on_demand(bus: Bus) -> None:
    waiting = Waiting(bus)
    for _ in range(2):
        publish_all(bus, [b"x" * 300_000])
        waiting.ask(1)
    assert [len(one.body) for one in waiting.wait_for(2)] == [300_000, 300_000]


def test_quorum_queue_gives_on_demand(bus: Bus) -> None:
    queue = "bed.quorum"
    bus.declare(TopologySpec(queues=(QueueSpec(queue, arguments={"x-queue-type": "quorum"}),)))
    waiting = Waiting(bus, queue)
    for number in range(3):
        before = waiting.empty_count
        waiting.ask(1)
        if number:
            wait_until(lambda before=before: waiting.empty_count > before, PATIENCE_S)  # type: ignore[misc]  # bound on purpose
        bus.publish(outgoing(b"%d" % number, queue, exchange=""))
        waiting.wait_for(number + 1)
    for one in waiting.deliveries:
        one.settle(Verdict.ACK)
    assert waiting.bodies == [b"0", b"1", b"2"]

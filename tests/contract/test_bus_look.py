"""Asking how a queue stands, on every implementation of the bus."""

from __future__ import annotations

import threading

from reworker.bus.contract import Bus, Outcome, publish_and_wait
from reworker.bus.queue_state import QueueState
from tests.support.beds import (
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


def look(bus: Bus, queue: str, deadline_s: float = PATIENCE_S) -> QueueState | None:
    found: list[QueueState | None] = []
    done = threading.Event()

    def on_found(state: QueueState | None) -> None:
        found.append(state)
        done.set()

    bus.look(queue, on_found, deadline_s=deadline_s)
    assert done.wait(PATIENCE_S)
    assert len(found) == 1
    return found[0]


def test_queue_tells_its_messages_and_consumers(bus: Bus, bed: Bed) -> None:
    publish_and_wait(bus, outgoing(b"1"))
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    assert look(bus, QUEUE) == QueueState(is_there=True, message_count=1, consumer_count=0)
    inbox = Inbox()
    bus.consume(QUEUE, inbox, prefetch=1)
    wait_consuming(bus)
    inbox.wait_for(1)
    assert look(bus, QUEUE) == QueueState(is_there=True, message_count=0, consumer_count=1)


def test_queue_that_is_not_there_costs_no_publish(bus: Bus, bed: Bed) -> None:
    outcomes = Outcomes()
    for number in range(10):
        bus.publish(outgoing(b"x"), outcomes)
        bus.look(f"nowhere.{number}", lambda _: None, deadline_s=PATIENCE_S)
        bus.publish(outgoing(b"y"), outcomes)
    assert look(bus, "nowhere") == QueueState(is_there=False)
    assert {one.outcome for one in outcomes.wait_for(20)} == {Outcome.CONFIRMED}
    assert bus.health().reconnect_count == 0


def test_nothing_is_known_without_a_connection_nor_of_a_bus_that_is_closed(bus: Bus, bed: Bed) -> None:
    bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    assert look(bus, QUEUE) is None
    bed.start()
    wait_connected(bus, 1)
    wait_until(lambda: look(bus, QUEUE) is not None, PATIENCE_S)
    bus.close()
    found: list[QueueState | None] = []
    bus.look(QUEUE, found.append, deadline_s=1.0)
    wait_until(lambda: found == [None], PATIENCE_S)

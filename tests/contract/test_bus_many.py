"""One consumer of many queues, on every implementation of the bus."""

from __future__ import annotations

import logging

import pytest

from reworker.bus.contract import (
    BindingSpec,
    Bus,
    Consumer,
    Delivery,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.bus.rota import Rota
from tests.support.beds import (
    EXCHANGE,
    PATIENCE_S,
    TOPOLOGY,
    Bed,
    Inbox,
    NetworkBed,
    outgoing,
    wait_connected,
    wait_consuming,
)
from tests.support.waiting import wait_until

KEY = "code.#"
BELL = "bed.bell"
SORTED = {"x-max-priority": 2, "x-dead-letter-exchange": "bed.dead"}


def declare(bus: Bus, *queues: str) -> None:
    """Declare queues that are named like the routing key of their messages."""
    specs = tuple(QueueSpec(one, arguments=SORTED) for one in queues)
    bus.declare(TopologySpec(queues=specs, bindings=tuple(BindingSpec(EXCHANGE, one, one) for one in queues)))


def listen(bus: Bus, rota: Rota) -> None:
    """Ring the rota for each message that comes."""
    bell = QueueSpec(BELL, durable=False, exclusive=True, auto_delete=True)
    bus.declare(TopologySpec(queues=(bell,), bindings=(BindingSpec(EXCHANGE, BELL, KEY),)))

    def on_bell(delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        rota.ring(delivery.routing_key)

    bus.consume(BELL, on_bell, prefetch=0)
    wait_consuming(bus)


def send(bus: Bus, queue: str, *bodies: bytes, priority: int | None = None) -> None:
    for body in bodies:
        publish_and_wait(bus, outgoing(body, queue, priority=priority))


class Slot:
    """Takes from a rota one message after the other, each when it is told to go on."""

    def __init__(self, bus: Bus, rota: Rota) -> None:
        self.inbox, self.taken_count = Inbox(), 0
        self.consumer: Consumer = bus.consume_any(rota, self.inbox)

    def take(self, count: int) -> list[bytes]:
        """Settle so many more messages; return all bodies so far."""
        for _ in range(count):
            self.inbox.wait_for(self.taken_count + 1)[self.taken_count].settle(Verdict.ACK)
            self.taken_count += 1
        return self.inbox.bodies


@pytest.fixture
def rota(bus: Bus) -> Rota:
    """Give the rota of two queues that a bell rings for."""
    declare(bus, "code.a", "code.b")
    made = Rota(KEY)
    listen(bus, made)
    return made


def test_message_is_taken_when_the_bell_has_rung_for_its_queue(bus: Bus, rota: Rota) -> None:
    slot = Slot(bus, rota)
    send(bus, "code.b", b"1")
    (delivery,) = slot.inbox.wait_for(1)
    assert (delivery.body, delivery.queue, delivery.routing_key) == (b"1", "code.b", "code.b")
    assert (delivery.exchange, delivery.redelivered) == (EXCHANGE, False)
    assert slot.consumer.is_active


def test_nothing_is_taken_while_a_message_is_unsettled(bus: Bus, bed: Bed, rota: Rota) -> None:
    slot = Slot(bus, rota)
    send(bus, "code.a", b"1", b"2")
    slot.inbox.wait_for(1)
    other = Slot(bus, rota)
    assert other.take(1) == [b"2"]
    send(bus, "code.b", b"3", b"4")
    assert other.inbox.wait_for(2)[1].body == b"3"
    assert slot.inbox.bodies == [b"1"]
    assert bed.message_count("code.b") == 1


def test_queues_take_turns_when_all_have_messages(bus: Bus, rota: Rota) -> None:
    send(bus, "code.a", b"a1", b"a2", b"a3")
    send(bus, "code.b", b"b1", b"b2", b"b3")
    wait_until(lambda: {"code.a", "code.b"} <= {*rota.known}, PATIENCE_S)
    bodies = Slot(bus, rota).take(6)
    for number in (1, 2, 3):
        pair = {f"a{number}".encode(), f"b{number}".encode()}
        assert set(bodies[2 * number - 2 : 2 * number]) == pair


def test_most_urgent_message_is_taken_first_when_more_wait(bus: Bus, rota: Rota) -> None:
    send(bus, "code.a", b"0a", b"0b")
    send(bus, "code.a", b"1", priority=1)
    send(bus, "code.a", b"2a", priority=2)
    send(bus, "code.a", b"2b", priority=7)
    assert Slot(bus, rota).take(5) == [b"2a", b"2b", b"1", b"0a", b"0b"]


def test_urgent_message_passes_those_that_wait_when_it_comes_later(bus: Bus, rota: Rota) -> None:
    slot = Slot(bus, rota)
    send(bus, "code.a", b"1", b"2", b"3")
    slot.inbox.wait_for(1)
    send(bus, "code.a", b"urgent", priority=2)
    assert slot.take(4) == [b"1", b"urgent", b"2", b"3"]


def test_others_are_taken_from_when_a_queue_is_not_there(
    bus: Bus, rota: Rota, caplog: pytest.LogCaptureFixture
) -> None:
    slots = [Slot(bus, rota), Slot(bus, rota)]
    rota.expect(["code.a", "code.gone", "code.lost"])
    send(bus, "code.nowhere", b"0")  # only the bell gets it
    send(bus, "code.a", b"1", b"2")
    wait_until(lambda: sorted(slots[0].inbox.bodies + slots[1].inbox.bodies) == [b"1", b"2"], PATIENCE_S)
    wait_until(lambda: "code.nowhere" not in rota.known, PATIENCE_S)
    wait_consuming(bus)
    assert {"code.gone", "code.lost"} <= {*rota.known}
    assert not bus.health().is_deaf
    warned = [one.message for one in caplog.records if one.levelno == logging.WARNING]
    assert all("code.nowhere" in one for one in warned if "could not be asked" in one)


def test_queue_is_taken_from_when_it_appears_after_it_was_missing(bus: Bus, rota: Rota) -> None:
    slot = Slot(bus, rota)
    rota.ring("code.late")
    wait_until(lambda: "code.late" not in rota.known, PATIENCE_S)
    declare(bus, "code.late")
    send(bus, "code.late", b"1")
    assert slot.take(1) == [b"1"]


def test_message_is_found_without_a_bell_when_its_queue_is_swept(bus: Bus) -> None:
    declare(bus, "code.a")
    send(bus, "code.a", b"1", b"2")
    rota = Rota(KEY)
    slot = Slot(bus, rota)
    rota.expect(["code.a"])
    assert slot.take(2) == [b"1", b"2"]
    send(bus, "code.a", b"3")
    rota.sweep()
    assert slot.take(1) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("verdict", [Verdict.REQUEUE, Verdict.DEAD_LETTER])
def test_message_goes_where_its_verdict_says(bus: Bus, bed: Bed, rota: Rota, verdict: Verdict) -> None:
    slot = Slot(bus, rota)
    send(bus, "code.a", b"1")
    slot.inbox.wait_for(1)[0].settle(verdict)
    if verdict is Verdict.DEAD_LETTER:
        wait_until(lambda: bed.message_count("bed.dead") == 1, PATIENCE_S)
        return
    again = slot.inbox.wait_for(2)[1]
    assert (again.body, again.redelivered, again.queue) == (b"1", True, "code.a")


def test_nothing_comes_when_the_consumer_was_cancelled(bus: Bus, bed: Bed, rota: Rota) -> None:
    slot, other = Slot(bus, rota), Slot(bus, rota)
    send(bus, "code.a", b"1")
    wait_until(lambda: slot.inbox.bodies + other.inbox.bodies == [b"1"], PATIENCE_S)
    taker, idle = (slot, other) if slot.inbox.bodies else (other, slot)
    taker.consumer.cancel()
    idle.consumer.cancel()
    taker.inbox.deliveries[0].settle(Verdict.ACK)
    wait_until(lambda: bus.health().wanted_consumer_count == 1, PATIENCE_S, "only the bell is left")
    declare(bus, "code.a")  # is answered after everything that they had asked for
    send(bus, "code.a", b"2")
    assert Slot(bus, rota).take(1) == [b"2"]
    assert bed.message_count("code.a") == 0


def test_message_that_was_taken_comes_again_when_the_connection_was_lost(
    bus: Bus, bed: Bed, rota: Rota
) -> None:
    slot = Slot(bus, rota)
    send(bus, "code.a", b"1")
    stale = slot.inbox.wait_for(1)[0]
    bed.cut()
    wait_connected(bus, 1)
    again = slot.inbox.wait_for(2)[1]
    assert (again.body, again.redelivered) == (b"1", True)
    stale.settle(Verdict.ACK)  # goes nowhere
    send(bus, "code.b", b"2")
    assert slot.inbox.bodies == [b"1", b"1"]
    again.settle(Verdict.ACK)
    assert slot.inbox.wait_for(3)[2].body == b"2"


def test_message_that_came_while_nobody_listened_is_found_when_the_bus_is_back(
    network_bed: NetworkBed,
) -> None:
    bus, rota = network_bed.new_bus(), Rota(KEY)
    bus.open(timeout_s=PATIENCE_S)
    bus.declare(TOPOLOGY)
    declare(bus, "code.a")
    listen(bus, rota)
    rota.expect(["code.a"])
    slot = Slot(bus, rota)
    network_bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    with network_bed.channel() as channel:
        channel.basic_publish(EXCHANGE, "code.a", b"1")
    network_bed.start()
    assert slot.take(1) == [b"1"]


def test_queue_is_left_alone_when_it_is_paused(bus: Bus, bed: Bed, rota: Rota) -> None:
    slot = Slot(bus, rota)
    rota.pause("code.a")
    send(bus, "code.a", b"a")
    send(bus, "code.b", b"b")
    assert slot.take(1) == [b"b"]
    rota.sweep()
    assert bed.message_count("code.a") == 1
    rota.resume("code.a")
    assert slot.inbox.wait_for(2)[1].body == b"a"

"""When the broker is taken for half dead, and when it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from reworker.bus.canary import FIRST_S, LATE_S, MOST_MISSING, Canary, CanarySettings
from reworker.bus.contract import Delivery, Outcome, Outgoing, Published, TopologySpec, Verdict
from reworker.errors import TopologyMismatch
from reworker.testing import FakeClock

QUEUE, EVERY_S = "own", 15.0
CONFIRMED = Published(Outcome.CONFIRMED)


class FakeConsumer:
    """A consumer that is there as long as the test says so."""

    def __init__(self, queue: str, on_delivery: Callable[[Delivery], None]) -> None:
        self.queue, self.on_delivery = queue, on_delivery
        self.is_active = True
        self.ack_within_s: float | None = None

    def cancel(self) -> None:
        self.is_active = False


class FakeDelivery:
    """What comes back."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.verdicts: list[Verdict] = []

    def settle(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)


class FakeBus:
    """A bus whose timers, confirms and deliveries the test plays."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.specs: list[TopologySpec] = []
        self.on_declared: Any = None
        self.consumers: list[FakeConsumer] = []
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.sent: list[tuple[Outgoing, Callable[[Published], None]]] = []
        self.moves, self.blocks = 0, False
        self.cuts: list[str] = []

    def declare(self, topology: TopologySpec, _mode: object, on_done: Any) -> None:
        self.specs.append(topology)
        self.on_declared = on_done

    def consume(self, queue: str, on_delivery: Callable[[Delivery], None], *, prefetch: int) -> FakeConsumer:
        assert prefetch == 1
        self.consumers.append(FakeConsumer(queue, on_delivery))
        return self.consumers[-1]

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        self.timers.append((self.clock.mono_s() + delay_s, call))

    def publish(self, message: Outgoing, on_done: Callable[[Published], None], *, deadline_s: float) -> None:
        assert deadline_s < EVERY_S
        self.sent.append((message, on_done))

    def progress(self) -> object:
        return self.moves

    def is_blocked(self) -> bool:
        return self.blocks

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)

    def pass_time(self, seconds: float, *, late_s: float = 0.0) -> None:
        """Let time pass and run what is due, all of it late if so."""
        end = self.clock.mono_s() + seconds
        while due := [one for one in self.timers if one[0] <= end]:
            first = min(due, key=lambda one: one[0])
            self.timers.remove(first)
            self.clock.advance(max(0.0, first[0] + late_s - self.clock.mono_s()))
            first[1]()
        self.clock.advance(max(0.0, end - self.clock.mono_s()))

    def deliver(self) -> FakeDelivery:
        """Give the last message back."""
        delivery = FakeDelivery(self.sent[-1][0].body)
        self.consumers[-1].on_delivery(delivery)  # type: ignore[arg-type]  # as much of a Delivery as is used
        return delivery


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus(FakeClock())


@pytest.fixture
def canary(bus: FakeBus) -> Canary:
    """Give one that has a queue and has sent its first message."""
    made = Canary(CanarySettings(QUEUE, EVERY_S), bus, bus.clock)
    made.on_up()
    bus.on_declared([])
    bus.pass_time(FIRST_S)
    assert len(bus.sent) == 1
    return made


def test_its_queue_goes_with_the_connection(bus: FakeBus, canary: Canary) -> None:
    (spec,) = bus.specs[0].queues
    assert (spec.name, spec.exclusive, spec.durable) == (QUEUE, True, False)
    message = bus.sent[0][0]
    assert (message.exchange, message.routing_key, message.may_resend) == ("", QUEUE, False)
    assert canary.consumer is bus.consumers[0]


def test_broker_is_well_when_messages_come_back(bus: FakeBus, canary: Canary) -> None:
    for count in range(1, 5):
        assert len(bus.sent) == count
        assert bus.deliver().verdicts == [Verdict.ACK]
        bus.pass_time(EVERY_S)
    assert canary.reason == ""
    assert bus.cuts == []


def test_broker_is_half_dead_when_it_does_not_deliver_what_it_took(
    bus: FakeBus, canary: Canary, caplog: pytest.LogCaptureFixture
) -> None:
    bus.sent[-1][1](CONFIRMED)
    bus.pass_time(EVERY_S - 0.1)
    assert canary.reason == ""
    bus.moves += 1  # others get their confirms; that tells nothing about deliveries
    bus.pass_time(0.1)
    assert canary.reason == "the broker took a test message but did not deliver it within 15 s"
    assert canary.reason in caplog.text


def test_broker_is_half_dead_when_it_confirms_nothing(bus: FakeBus, canary: Canary) -> None:
    bus.pass_time(EVERY_S)
    assert canary.reason == "the broker did not confirm a test message within 15 s"
    bus.sent[-1][1](Published(Outcome.TIMED_OUT, is_sent=True))
    bus.pass_time(EVERY_S)
    assert canary.reason


@pytest.mark.parametrize(
    "result",
    [
        Published(Outcome.TIMED_OUT, is_sent=False),  # the broker blocks publishing, or much waits before it
        Published(Outcome.RETURNED, reply_code=312),
        Published(Outcome.REFUSED),
        Published(Outcome.LOST),
    ],
    ids=lambda result: result.outcome.value,
)
def test_nobody_is_accused_when_the_message_was_never_taken(
    bus: FakeBus, canary: Canary, result: Published
) -> None:
    bus.sent[-1][1](result)
    bus.pass_time(EVERY_S)
    assert canary.reason == ""
    assert len(bus.sent) == 2


def test_nobody_is_accused_when_others_are_confirmed_before(bus: FakeBus, canary: Canary) -> None:
    bus.moves += 1
    bus.pass_time(EVERY_S)
    assert canary.reason == ""


def test_nobody_is_accused_when_the_broker_blocks_at_its_message(bus: FakeBus, canary: Canary) -> None:
    bus.blocks = True
    bus.pass_time(3 * EVERY_S)
    assert canary.reason == ""
    bus.blocks = False
    bus.pass_time(EVERY_S)
    assert "did not confirm" in canary.reason


def test_nobody_is_accused_when_its_own_consumer_is_missing(bus: FakeBus, canary: Canary) -> None:
    bus.sent[-1][1](CONFIRMED)
    bus.consumers[-1].is_active = False
    bus.pass_time(EVERY_S)
    assert canary.reason == ""
    assert len(bus.sent) == 1


def test_nobody_is_accused_when_this_process_stood_still(bus: FakeBus, canary: Canary) -> None:
    bus.sent[-1][1](CONFIRMED)
    bus.pass_time(EVERY_S, late_s=LATE_S + 0.1)
    assert canary.reason == ""
    bus.deliver()
    bus.pass_time(EVERY_S)
    assert canary.reason == ""
    bus.sent[-1][1](CONFIRMED)
    bus.pass_time(EVERY_S)
    assert canary.reason  # it still can tell


def test_connection_is_given_up_when_several_in_a_row_are_missing(bus: FakeBus, canary: Canary) -> None:
    for count in range(1, MOST_MISSING + 1):
        assert bus.cuts == []
        bus.pass_time(EVERY_S)
        assert canary.reason, count
    assert bus.cuts == [canary.reason]


def test_reason_stays_over_a_reconnection_until_a_message_comes_back(bus: FakeBus, canary: Canary) -> None:
    bus.pass_time(EVERY_S)
    canary.on_down()
    sent_count = len(bus.sent)
    bus.pass_time(3 * EVERY_S)
    assert len(bus.sent) == sent_count  # the timers of the old connection do nothing
    canary.on_up()
    assert canary.reason
    bus.pass_time(FIRST_S)
    bus.deliver()
    assert canary.reason == ""
    assert len(bus.consumers) == 1  # the bus begins to consume again by itself


def test_message_of_an_old_connection_proves_nothing(bus: FakeBus, canary: Canary) -> None:
    old = bus.sent[-1][0].body
    bus.pass_time(EVERY_S)
    bus.consumers[-1].on_delivery(FakeDelivery(old))  # type: ignore[arg-type]  # the double of a Delivery, as in the bus here
    assert canary.reason


def test_it_says_so_and_accuses_nobody_when_it_may_have_no_queue(
    bus: FakeBus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    canary = Canary(CanarySettings(QUEUE, EVERY_S), bus, bus.clock)
    canary.on_up()
    bus.on_declared([TopologyMismatch(QUEUE, 403, "a queue", "ACCESS_REFUSED")])
    bus.pass_time(5 * EVERY_S)
    assert (canary.reason, canary.consumer, bus.sent) == ("", None, [])
    (record,) = caplog.records
    assert "ACCESS_REFUSED" in record.getMessage()
    canary.on_down()
    canary.on_up()
    bus.on_declared([])
    bus.pass_time(FIRST_S)
    assert len(bus.sent) == 1

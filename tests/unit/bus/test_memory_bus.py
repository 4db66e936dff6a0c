from __future__ import annotations

import pytest

from reworker.bus.contract import (
    BindingSpec,
    ExchangeSpec,
    Outcome,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.bus.memory_model import is_match
from reworker.errors import CannotConnect, TopologyMismatch
from tests.support.beds import Inbox, Outcomes

TOPOLOGY = TopologySpec(
    exchanges=(ExchangeSpec("e"), ExchangeSpec("dead", kind="fanout")),
    queues=(QueueSpec("q", arguments={"x-dead-letter-exchange": "dead"}), QueueSpec("d")),
    bindings=(BindingSpec("e", "q", "work.#"), BindingSpec("dead", "d", "")),
)


class HandClock:
    def __init__(self) -> None:
        self.at_s = 0.0

    def mono_s(self) -> float:
        return self.at_s


def message(body: bytes = b"", key: str = "work.a") -> Outgoing:
    return Outgoing("e", key, body, Properties())


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def bus(broker: MemoryBroker) -> MemoryBus:
    made = MemoryBus(broker, is_threaded=False)
    made.open(timeout_s=0)
    made.declare(TOPOLOGY)
    return made


def test_nothing_is_called_back_before_pump(bus: MemoryBus, broker: MemoryBroker) -> None:
    inbox, outcomes = Inbox(), Outcomes()
    bus.consume("q", inbox, prefetch=1)
    bus.publish(message(b"1"), outcomes)
    assert (inbox.bodies, outcomes.results) == ([], [])
    assert broker.pump() == 2
    assert inbox.bodies == [b"1"]
    assert outcomes.results == [Published(Outcome.CONFIRMED)]
    assert broker.pump() == 0


def test_pump_runs_until_buses_have_nothing_left_to_say(broker: MemoryBroker, bus: MemoryBus) -> None:
    other = MemoryBus(broker, is_threaded=False)
    other.open(timeout_s=0)
    seen: list[bytes] = []

    def pass_on(delivery: object) -> None:
        number = int(delivery.body)  # type: ignore[attr-defined]  # a Delivery
        seen.append(b"%d" % number)
        delivery.settle(Verdict.ACK)  # type: ignore[attr-defined]  # a Delivery
        if number < 10:
            (bus if number % 2 else other).publish(message(b"%d" % (number + 1)))

    bus.consume("q", pass_on, prefetch=1)
    other.consume("q", pass_on, prefetch=1)
    bus.publish(message(b"0"))
    broker.pump()
    assert seen == [b"%d" % number for number in range(11)]


def test_waiting_publish_times_out_by_the_clock(broker: MemoryBroker) -> None:
    clock, outcomes = HandClock(), Outcomes()
    bus = MemoryBus(broker, is_threaded=False, clock=clock)  # type: ignore[arg-type]  # wall time is not asked
    bus.publish(message(), outcomes, deadline_s=5)
    clock.at_s = 4.9
    bus.pump()
    assert outcomes.results == []
    clock.at_s = 5.0
    bus.pump()
    assert [(one.outcome, one.is_sent) for one in outcomes.results] == [(Outcome.TIMED_OUT, False)]


def test_open_raises_when_the_broker_is_stopped(broker: MemoryBroker) -> None:
    broker.stop()
    with pytest.raises(CannotConnect):
        MemoryBus(broker, is_threaded=False).open(timeout_s=0)


def test_exclusive_queue_belongs_to_its_bus_and_goes_with_it(broker: MemoryBroker, bus: MemoryBus) -> None:
    own = TopologySpec(queues=(QueueSpec("own", durable=False, exclusive=True),))
    bus.declare(own)
    other = MemoryBus(broker, is_threaded=False)
    other.open(timeout_s=0)
    with pytest.raises(TopologyMismatch) as caught:
        other.declare(own)
    assert caught.value.reply_code == 405
    bus.close()
    other.declare(own)


def test_auto_delete_queue_goes_with_its_last_consumer(broker: MemoryBroker, bus: MemoryBus) -> None:
    bus.declare(TopologySpec(queues=(QueueSpec("auto", auto_delete=True),)))
    bus.consume("auto", Inbox(), prefetch=1).cancel()
    assert "auto" not in broker.model.queues


def test_delivery_on_its_way_is_dropped_when_the_connection_is_lost(
    broker: MemoryBroker, bus: MemoryBus
) -> None:
    inbox = Inbox()
    bus.consume("q", inbox, prefetch=1)
    bus.publish(message(b"1"))
    broker.drop_connections()
    broker.pump()
    assert [(one.body, one.redelivered) for one in inbox.deliveries] == [(b"1", True)]


def test_messages_go_round_dead_letter_cycles_only_so_often(broker: MemoryBroker, bus: MemoryBus) -> None:
    cycle = {"x-dead-letter-exchange": "e", "x-dead-letter-routing-key": "loop"}
    bus.declare(
        TopologySpec(
            queues=(QueueSpec("loop", arguments=cycle),), bindings=(BindingSpec("e", "loop", "loop"),)
        )
    )
    bus.consume("loop", lambda delivery: delivery.settle(Verdict.DEAD_LETTER), prefetch=1)
    bus.publish(message(key="loop"))
    assert broker.pump() < 200


@pytest.mark.parametrize(
    ("kind", "pattern", "key", "answer"),
    [
        ("direct", "a.b", "a.b", True),
        ("direct", "a.*", "a.b", False),
        ("fanout", "", "anything", True),
        ("topic", "a.b", "a.b", True),
        ("topic", "a.*", "a.b", True),
        ("topic", "a.*", "a", False),
        ("topic", "a.*", "a.b.c", False),
        ("topic", "a.#", "a", True),
        ("topic", "a.#", "a.b.c", True),
        ("topic", "#", "", True),
        ("topic", "#.c", "a.b.c", True),
        ("topic", "*.b.#", "a.b", True),
        ("topic", "#.b.#", "a.c", False),
    ],
)
def test_binding_lets_through_what_it_should(kind: str, pattern: str, key: str, answer: bool) -> None:
    assert is_match(kind, pattern, key) is answer

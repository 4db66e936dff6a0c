"""A consumer of many queues without a broker: what it asks, and when."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pika.exceptions import ChannelClosedByBroker

from reworker.bus import frames
from reworker.bus.contract import Delivery, Verdict
from reworker.bus.limits import Patience
from reworker.bus.many import SECOND_LOOK_S, ManyPull
from reworker.bus.rota import Rota
from reworker.bus.settlement import Settler


class FakeHost:
    """Plays the bus; its calls are made when the test says so."""

    def __init__(self) -> None:
        self.settler, self.patience = Settler(lambda: None), Patience()
        self.soon: list[Callable[[], object]] = []
        self.later: list[tuple[float, Callable[[], object]]] = []
        self.repaired: list[int] = []
        self.forgotten_count = 0

    def call_soon(self, call: Callable[[], object]) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        """Make the calls that are due at once."""
        while self.soon:
            self.soon.pop(0)()

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        self.later.append((delay_s, call))

    def repair(self, _subscription: object, attempt: int) -> None:
        self.repaired.append(attempt)

    def forget(self, _subscription: object) -> None:
        self.forgotten_count += 1

    def guard(self, callback: Callable[[Any], None], argument: Any) -> None:
        callback(argument)


class FakeChannel:
    """Plays pika's channel."""

    def __init__(self) -> None:
        self.is_open = True
        self.on_empty: Callable[[object], None] = lambda frame: None
        self.on_close: Callable[[object, Exception], None] = lambda channel, reason: None

    def add_on_cancel_callback(self, call: object) -> None:
        pass

    def add_on_close_callback(self, call: Callable[[object, Exception], None]) -> None:
        self.on_close = call

    def add_callback(self, call: Callable[[object], None], *_: object, one_shot: bool) -> None:
        self.on_empty = call

    def close(self) -> None:
        self.is_open = False


class Bench:
    """One consumer on a connection that writes down what it is given."""

    def __init__(self) -> None:
        self.rota, self.host, self.deliveries = Rota("code.#"), FakeHost(), list[Delivery]()
        self.pull = ManyPull(
            self.host,
            "code.#",
            self.deliveries.append,
            rota=self.rota,
            prefetch=1,
            longest_s=None,
            channel_number=7,
        )
        self.connection = SimpleNamespace(
            is_open=True,
            reader=SimpleNamespace(delivery_sinks={}),
            channel=self.open_channel,
            write_raw=self.note,
        )
        self.asked: list[bytes] = []
        self.pull.start(self.connection)  # type: ignore[arg-type]  # plays one

    def open_channel(self, _number: int, *, on_open_callback: Callable[[FakeChannel], None]) -> FakeChannel:
        self.channel, self.on_open = FakeChannel(), on_open_callback
        return self.channel

    def note(self, data: bytes) -> None:
        self.asked.append(data)

    def open(self) -> Bench:
        """Let the broker open the channel."""
        self.on_open(self.channel)
        return self

    def asks_for(self, *queues: str) -> bool:
        """Tell whether it has asked these queues, in this order, since the last time."""
        self.host.turn()
        asked, self.asked = self.asked, []
        return asked == [frames.get_frame(7, one) for one in queues]

    def give(self, key: str) -> Delivery:
        """Answer with a message."""
        self.host.turn()
        self.pull.on_deliver(len(self.deliveries) + 1, False, "re", key, SimpleNamespace(), b"{}")
        return self.deliveries[-1]

    def settle(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        self.host.settler.write(1, SimpleNamespace(write_raw=lambda data: None))

    def refuse(self, code: int) -> None:
        """Close the channel, as a broker does that refuses the queue."""
        self.host.turn()
        self.channel.on_close(self.channel, ChannelClosedByBroker(code, "no queue"))


def test_queue_is_asked_as_soon_as_it_rings() -> None:
    bench = Bench().open()
    assert bench.pull.is_active
    assert bench.asks_for()
    bench.rota.ring("code.a")
    assert bench.asks_for("code.a")
    bench.rota.ring("code.b")
    assert bench.asks_for(), "one question at a time"


def test_next_queue_is_asked_when_the_message_is_settled() -> None:
    bench = Bench().open()
    bench.rota.ring("code.a")
    delivery = bench.give("code.a")
    assert delivery.queue == "code.a"
    bench.rota.ring("code.b")
    assert bench.asks_for("code.a")
    bench.settle(delivery)
    assert bench.asks_for("code.a") or bench.asks_for("code.b")


def test_queue_that_rang_and_gave_nothing_is_asked_once_more_shortly() -> None:
    bench = Bench().open()
    bench.rota.ring("code.a")
    assert bench.asks_for("code.a")
    bench.channel.on_empty(None)
    ((delay_s, look),) = bench.host.later
    assert delay_s == SECOND_LOOK_S
    look()
    assert bench.asks_for("code.a")
    bench.channel.on_empty(None)
    assert len(bench.host.later) == 1, "the sweep does the rest"


@pytest.mark.parametrize(("code", "told"), [(404, ["lost"]), (403, []), (405, [])])
def test_channel_is_opened_again_at_once_and_senders_are_told_when_a_queue_is_refused(
    code: int, told: list[str]
) -> None:
    bench, found = Bench().open(), list[str]()
    bench.rota.ring("code.a", lambda: found.append("lost"))
    bench.refuse(code)
    assert (bench.host.repaired, found) == ([0], told)
    assert bench.pull.is_active, "health must not flicker for it"
    bench.rota.ring("code.b")
    bench.asked.clear()
    bench.pull.start(bench.connection)  # type: ignore[arg-type]  # plays one
    bench.open()
    assert bench.asks_for("code.b")


def test_queue_is_looked_at_again_when_its_answer_was_lost_for_another_reason() -> None:
    bench = Bench().open()
    bench.rota.ring("code.a")
    bench.refuse(541)
    assert bench.host.repaired == [1]
    assert not bench.pull.is_active
    bench.asked.clear()
    bench.pull.start(bench.connection)  # type: ignore[arg-type]  # plays one
    bench.open()
    assert bench.asks_for("code.a")


def test_answer_that_is_under_way_is_awaited_when_the_consumer_is_cancelled() -> None:
    bench = Bench().open()
    bench.rota.ring("code.a")
    bench.host.turn()
    bench.pull.cancel()
    assert bench.channel.is_open, "the answer may be a message"
    delivery = bench.give("code.a")
    assert bench.channel.is_open
    bench.settle(delivery)
    assert not bench.channel.is_open
    bench.channel.on_close(bench.channel, ChannelClosedByBroker(200, ""))
    assert bench.host.forgotten_count == 1
    assert bench.asks_for("code.a"), "nothing more"


def test_bell_is_passed_on_when_it_wakes_one_that_takes_no_more() -> None:
    bench, woken = Bench().open(), list[str]()

    class Other:
        def wake(self) -> None:
            woken.append("other")

    bench.rota.take(Other())
    bench.pull.is_cancelled = True  # by another thread, which the bus has not got round to
    bench.rota.ring("code.a")
    bench.host.turn()
    assert woken == ["other"]

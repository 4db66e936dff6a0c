"""Declares topologies on a channel of its own, step by step; an error closes only that channel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from pika.exceptions import ChannelClosedByBroker

from reworker.bus.contract import DeclareMode, TopologySpec
from reworker.bus.queue_state import OnFound, QueueState
from reworker.bus.transport import WireConnection
from reworker.errors import TopologyMismatch

#: number of the declaring channel; the publishing one has 1.
CHANNEL_NUMBER = 2

OnDeclared = Callable[[list[TopologyMismatch] | None], None]


class Step(msgspec.Struct, frozen=True):
    """One thing to declare: its name, what we expect of it, and how to ask the broker."""

    name: str
    expected: str
    send: Callable[[Any, Callable[[Any], None]], None]


class _Run:
    """Declaring one topology: the steps left, and the errors so far."""

    def __init__(self, steps: Iterator[Step], on_done: OnDeclared) -> None:
        self._steps, self.on_done = steps, on_done
        self.errors: list[TopologyMismatch] = []
        self.step = next(steps, None)

    def advance(self) -> None:
        """Go to the next step."""
        self.step = next(self._steps, None)


class Declarer:
    """Declares one topology after another; only on the I/O thread.

    `on_done` of each gets the mismatches (none is success), or None when the connection was lost.
    A mismatch does not keep the steps after it from being tried.

    Attributes:
        kept: what is to be declared again on each new connection.
    """

    def __init__(self) -> None:
        self.kept: list[tuple[TopologySpec, DeclareMode]] = []
        self._connection: WireConnection | None = None
        self._channel: Any = None
        self._runs: deque[_Run] = deque()

    def on_up(self, connection: WireConnection) -> None:
        """Use a new connection."""
        self._connection, self._channel = connection, None

    def on_down(self) -> None:
        """End everything that waits: the connection is lost."""
        self._connection = self._channel = None
        runs, self._runs = self._runs, deque()
        for run in runs:
            run.on_done(None)

    def declare(self, topology: TopologySpec, mode: DeclareMode, on_done: OnDeclared) -> None:
        """Declare a topology and report."""
        self._begin(steps_of(topology, mode), on_done)

    def delete(self, queue: str, on_done: OnDeclared) -> None:
        """Delete a queue, unless it has messages or consumers (406), and report; keep it no more then."""

        def on_deleted(errors: list[TopologyMismatch] | None) -> None:
            if errors == []:
                self.kept = [one for one in self.kept if not one[0].is_of_queue(queue)]
            on_done(errors)

        self._begin(iter((_delete_step(queue),)), on_deleted)

    def look(self, queue: str, on_found: OnFound) -> None:
        """Ask how a queue stands and report."""
        found: list[QueueState] = []

        def on_done(errors: list[TopologyMismatch] | None) -> None:
            on_found(None if errors is None else found[0] if found else QueueState(is_there=False))

        self._begin(iter((_look_step(queue, found.append),)), on_done)

    def _begin(self, steps: Iterator[Step], on_done: OnDeclared) -> None:
        if self._connection is None:
            on_done(None)
            return
        self._runs.append(_Run(steps, on_done))
        if len(self._runs) == 1:
            self._go_on()

    def _go_on(self) -> None:
        if not self._runs or self._connection is None or not self._connection.is_open:
            return
        run = self._runs[0]
        if run.step is None:
            self._runs.popleft()
            run.on_done(run.errors)
            self._go_on()
        elif self._channel is None:
            channel = self._connection.channel(CHANNEL_NUMBER, on_open_callback=self._on_open)
            channel.add_on_close_callback(self._on_closed)
        else:
            run.step.send(self._channel, self._on_step_ok)

    def _on_open(self, channel: Any) -> None:
        self._channel = channel
        self._go_on()

    def _on_step_ok(self, _frame: Any) -> None:
        self._runs[0].advance()
        self._go_on()

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        self._channel = None
        if not isinstance(reason, ChannelClosedByBroker) or not self._runs:
            return
        run = self._runs[0]
        if run.step is not None:
            code, text = reason.reply_code, reason.reply_text
            run.errors.append(TopologyMismatch(run.step.name, code, run.step.expected, text))
        run.advance()
        # pika forgets the channel only after this callback; until then its number is taken.
        self._connection and self._connection.ioloop.call_later(0, self._go_on)


def steps_of(topology: TopologySpec, mode: DeclareMode) -> Iterator[Step]:
    """Return what is to be asked of the broker, in order."""
    if mode is DeclareMode.OFF:
        return
    is_passive = mode is DeclareMode.VERIFY
    for exchange in topology.exchanges:
        yield _exchange_step(exchange.name, exchange.kind, exchange.durable, is_passive)
    for queue in topology.queues:
        options = {
            "durable": queue.durable,
            "exclusive": queue.exclusive,
            "auto_delete": queue.auto_delete,
            "arguments": dict(queue.arguments),
        }
        yield _queue_step(queue.name, options, is_passive)
    if not is_passive:
        for binding in topology.bindings:
            yield _bind_step(binding.exchange, binding.queue, binding.routing_key)


def _exchange_step(name: str, kind: str, is_durable: bool, is_passive: bool) -> Step:
    def send(channel: Any, on_ok: Callable[[Any], None]) -> None:
        channel.exchange_declare(name, kind, passive=is_passive, durable=is_durable, callback=on_ok)

    return Step(name, f"a {kind} exchange, durable={is_durable}", send)


def _queue_step(name: str, options: dict[str, Any], is_passive: bool) -> Step:
    def send(channel: Any, on_ok: Callable[[Any], None]) -> None:
        channel.queue_declare(name, passive=is_passive, callback=on_ok, **options)

    words = ", ".join(f"{key}={value}" for key, value in options.items())
    return Step(name, f"a queue, {words}", send)


def _look_step(name: str, on_state: Callable[[QueueState], None]) -> Step:
    def send(channel: Any, on_ok: Callable[[Any], None]) -> None:
        def on_frame(frame: Any) -> None:
            method = frame.method
            on_state(QueueState(True, method.message_count, method.consumer_count))
            on_ok(frame)

        channel.queue_declare(name, passive=True, callback=on_frame)

    return Step(name, "a queue", send)


def _delete_step(name: str) -> Step:
    def send(channel: Any, on_ok: Callable[[Any], None]) -> None:
        channel.queue_delete(name, if_unused=True, if_empty=True, callback=on_ok)

    return Step(name, "an empty queue that nobody consumes, to be deleted", send)


def _bind_step(exchange: str, queue: str, routing_key: str) -> Step:
    def send(channel: Any, on_ok: Callable[[Any], None]) -> None:
        channel.queue_bind(queue, exchange, routing_key, callback=on_ok)

    return Step(queue, f"a binding to exchange {exchange} with key {routing_key!r}", send)

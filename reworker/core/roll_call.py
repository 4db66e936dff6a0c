"""Asking workers how they stand, and telling them to pause or go on: over the control exchange."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from reworker.bus.contract import (
    PUBLISH_DEADLINE_S,
    Bus,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.clock import Clock
from reworker.errors import MessageError, Unroutable
from reworker.ids import new_id
from reworker.messages import Pong, WorkerOrder, decode, encode
from reworker.topology import names

#: state of a process whose last word this is.
GONE = "stopped"
#: processes that are remembered; more come from somebody who makes them up.
HEARD_COUNT = 10_000


class Heard(msgspec.Struct, frozen=True):
    """What a process of workers answered, and when."""

    pong: Pong
    at: datetime

    def order(self) -> tuple[str, str, int]:
        """Return what lists are sorted by, and what tells one process from another."""
        return (self.pong.queue, self.pong.host, self.pong.pid)


class RollCall:
    """Pings the workers of a bus, and keeps what each answered last; any thread.

    Args:
        bus: open.
        clock: for when an answer came.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._queue = f"{names.CONTROL_EXCHANGE}.answers.{new_id(clock.now())}"
        self._heard: dict[tuple[str, str, int], Heard] = {}
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Have a queue for the answers, which goes with the connection; waits for the broker.

        Raises:
            TopologyMismatch, ConnectionLost: see `Bus.declare`.
        """
        spec = QueueSpec(self._queue, durable=False, exclusive=True, auto_delete=True)
        self._bus.declare(TopologySpec(exchanges=(ExchangeSpec(names.CONTROL_EXCHANGE),), queues=(spec,)))
        self._bus.consume(self._queue, self._on_delivery, prefetch=0)

    def ask(self, *, deadline_s: float = PUBLISH_DEADLINE_S) -> bool:
        """Ping all workers, and tell whether anybody listens; their answers come later.

        Raises:
            PublishNotConfirmed: see `publish_and_wait`.
        """
        properties = Properties(content_type="application/json", reply_to=self._queue)
        message = Outgoing(names.CONTROL_EXCHANGE, names.PING_KEY, b"{}", properties)
        with contextlib.suppress(Unroutable):
            publish_and_wait(self._bus, message, deadline_s=deadline_s)
            return True
        return False

    def heard(self, within_s: float | None = None) -> list[Heard]:
        """Return what was answered in the last seconds, or ever, by queue, host and process."""
        with self._lock:
            found = list(self._heard.values())
        if within_s is not None:
            since = self._clock.now() - timedelta(seconds=within_s)
            found = [one for one in found if one.at >= since]
        return sorted(found, key=Heard.order)

    def forget(self, within_s: float) -> None:
        """Forget who has not answered in the last seconds."""
        since = self._clock.now() - timedelta(seconds=within_s)
        with self._lock:
            self._heard = {key: one for key, one in self._heard.items() if one.at >= since}

    def _on_delivery(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        with contextlib.suppress(MessageError):
            heard = Heard(decode(Pong, delivery.body), self._clock.now())
            with self._lock:
                if heard.pong.state == GONE:
                    self._heard.pop(heard.order(), None)
                elif len(self._heard) < HEARD_COUNT or heard.order() in self._heard:
                    self._heard[heard.order()] = heard


def order_workers(
    bus: Bus, verb: str, name: str, reason: str, *, deadline_s: float = PUBLISH_DEADLINE_S
) -> None:
    """Have all processes of a worker pause or resume.

    Args:
        bus: open.
        verb: ``pause`` or ``resume``.
        name: of the worker type.
        reason: for its log, with who says so.
        deadline_s: seconds until the broker has to have it.

    Raises:
        Unroutable: no such worker listens.
        PublishNotConfirmed: see `publish_and_wait`.
    """
    publish_control(bus, f"{verb}.{name}", encode(WorkerOrder(reason)), deadline_s=deadline_s)


def publish_control(bus: Bus, key: str, body: bytes, *, deadline_s: float = PUBLISH_DEADLINE_S) -> None:
    """Send a control message.

    Raises:
        Unroutable: nobody listens to such a key.
        PublishNotConfirmed: see `publish_and_wait`.
    """
    bus.declare(TopologySpec(exchanges=(ExchangeSpec(names.CONTROL_EXCHANGE),)))
    properties = Properties(content_type="application/json")
    publish_and_wait(bus, Outgoing(names.CONTROL_EXCHANGE, key, body, properties), deadline_s=deadline_s)


def commands_on(queue: str) -> tuple[str, ...]:
    """Return the commands that the queue of a worker takes unless it is told otherwise, with its domain."""
    domain, _, suffix = queue.removeprefix(names.WORKER_PREFIX).rpartition(".")
    return tuple(f"{domain}.{one}" if domain else one for one in names.commands_of(suffix))


def answers_to(queue: str, name: str) -> bool:
    """Tell whether the worker of a queue is called like this, in full or without its ``worker``."""
    return name in names.commands_of(queue.rpartition(".")[2])


def versions_of(heard: Iterable[Heard]) -> list[str]:
    """Return the versions that run, each once."""
    return sorted({one.pong.version for one in heard})

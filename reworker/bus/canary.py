"""A small message to ourselves, now and then: proof that the broker still delivers, not only answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

from reworker.bus.contract import (
    Consumer,
    DeclareMode,
    Delivery,
    Outcome,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.clock import Clock
from reworker.config import MqSettings
from reworker.errors import TopologyMismatch

logger = logging.getLogger(__name__)

#: seconds after a connection is made until the first one.
FIRST_S = 1.0
#: seconds by which our own timer may be late before we take ourselves, not the broker, for the slow one.
LATE_S = 1.0
#: share of that time after which an unconfirmed one is given up.
DEADLINE_SHARE = 0.8
#: messages missing in a row after which the connection is made anew: another one may be well.
MOST_MISSING = 3
_TRANSIENT = 1


class CanarySettings(msgspec.Struct, frozen=True):
    """Whether a bus sends itself messages.

    Args:
        queue: name of a queue for them, this bus's own; it goes with the connection.
        every_s: seconds between two; one that has not come back when the next is due is missing.
    """

    queue: str
    every_s: float


def canary_of(settings: MqSettings, queue: str) -> CanarySettings | None:
    """Return what the settings of the bus say of a canary; None is none."""
    return CanarySettings(queue, settings.canary_s) if settings.canary_s else None


class Host(Protocol):
    """What a canary needs of its bus."""

    def declare(
        self,
        topology: TopologySpec,
        mode: DeclareMode,
        on_done: Callable[[list[TopologyMismatch] | None], None],
    ) -> None:
        """Declare now and after each reconnection."""
        ...

    def consume(self, queue: str, on_delivery: Callable[[Delivery], None], *, prefetch: int) -> Consumer:
        """Begin to consume."""
        ...

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Run a call on the I/O thread after some seconds, if the bus is still open."""
        ...

    def publish(self, message: Outgoing, on_done: Callable[[Published], None], *, deadline_s: float) -> None:
        """Queue a message for publishing."""
        ...

    def progress(self) -> object:
        """Return something that changes with every confirm of the broker, and when it ends to block."""
        ...

    def is_blocked(self) -> bool:
        """Tell whether the broker blocks publishing; a message of ours may be what it has begun at."""
        ...

    def cut(self, reason: str) -> None:
        """Give the connection up; another one is made."""
        ...


class Canary:
    """Sends itself messages and misses them; only on the I/O thread, but for `reason` and `consumer`.

    It accuses the broker only when nothing else explains the silence: not while the broker blocks
    publishing, nor while other messages are confirmed before its own, nor after this process has stood still.
    Where it may not have a queue it says so once and accuses nobody.

    Attributes:
        reason: why the broker is taken for half dead, in words; empty while it is not.
        consumer: of its own queue, once there is one.

    Args:
        settings: of it.
        host: the bus.
        clock: measures.
    """

    def __init__(self, settings: CanarySettings, host: Host, clock: Clock) -> None:
        self.reason = ""
        self.consumer: Consumer | None = None
        self._settings, self._host, self._clock = settings, host, clock
        self._life = 0
        self._number = 0
        self._awaited: bytes | None = None
        self._outcome: Published | None = None
        self._progress: object = None
        self._missing_count = 0

    def on_up(self) -> None:
        """Begin on a new connection."""
        self._life += 1
        self._awaited = None
        life = self._life
        if self.consumer is None:
            spec = QueueSpec(self._settings.queue, durable=False, exclusive=True)
            self._host.declare(TopologySpec(queues=(spec,)), DeclareMode.DECLARE, self._on_declared)
        self._call_later(min(FIRST_S, self._settings.every_s), life)

    def on_down(self) -> None:
        """Wait for no message of the lost connection."""
        self._life += 1
        self._awaited = None

    def _on_declared(self, errors: list[TopologyMismatch] | None) -> None:
        if errors:
            logger.warning("no look whether the broker delivers: %s", errors[0])
        elif errors is not None and self.consumer is None:
            self.consumer = self._host.consume(self._settings.queue, self._on_delivery, prefetch=1)

    def _on_delivery(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        if delivery.body == self._awaited:
            self._awaited, self._missing_count = None, 0
            if self.reason:
                logger.info("the broker delivers again")
            self.reason = ""

    def _call_later(self, delay_s: float, life: int) -> None:
        due_mono_s = self._clock.mono_s() + delay_s
        self._host.call_later(delay_s, lambda: self._beat(life, due_mono_s))

    def _beat(self, life: int, due_mono_s: float) -> None:
        if life != self._life:
            return
        is_late = self._clock.mono_s() - due_mono_s > LATE_S
        self._call_later(self._settings.every_s, life)
        if is_late:
            return  # we stood still: what the broker has sent meanwhile is not read yet
        if self._awaited is not None:
            self._judge()
        if self._life == life and self.consumer is not None and self.consumer.is_active:
            self._send()

    def _judge(self) -> None:
        """The last message has not come back: find out whether that is the broker's fault."""
        outcome = self._outcome
        is_explained = self._host.is_blocked() or self._host.progress() != self._progress
        if self.consumer is None or not self.consumer.is_active:
            return  # its queue was deleted, and is being repaired
        is_confirmed = outcome is not None and outcome.outcome is Outcome.CONFIRMED
        is_unsaid = outcome is None or (outcome.outcome is Outcome.TIMED_OUT and outcome.is_sent)
        if not is_confirmed and (is_explained or not is_unsaid):
            return
        did = (
            "took a test message but did not deliver it" if is_confirmed else "did not confirm a test message"
        )
        self._missing_count += 1
        self.reason = f"the broker {did} within {self._settings.every_s:g} s"
        logger.error("%s, though the connection is up; time %d", self.reason, self._missing_count)
        if self._missing_count >= MOST_MISSING:
            self._missing_count = 0
            self._host.cut(self.reason)

    def _send(self) -> None:
        self._number += 1
        self._awaited = body = b"%d.%d" % (self._life, self._number)
        self._outcome, self._progress = None, self._host.progress()
        properties = Properties(content_type="text/plain", delivery_mode=_TRANSIENT)
        message = Outgoing("", self._settings.queue, body, properties, may_resend=False)

        def on_done(result: Published) -> None:
            if self._awaited == body:
                self._outcome = result

        # Over before the next look, which has to know whether it was sent at all.
        self._host.publish(message, on_done, deadline_s=self._settings.every_s * DEADLINE_SHARE)

"""Timers: rows in the database that become events when they are due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from reworker.clock import Clock
from reworker.core.batch import Request
from reworker.fsm.commands import TimerKind
from reworker.fsm.events import (
    ApprovalExpired,
    AttemptEvent,
    CancelTimedOut,
    DelayEnded,
    DeploymentTimedOut,
    Event,
    HeartbeatLost,
    LocksDue,
    QueueTimedOut,
    RunTimedOut,
)
from reworker.storage.contract import TimerRow, Unit

#: seconds by which wall time and monotonic time may part before it counts as a jump of the clock.
JUMP_S = 2.0
#: seconds before a timer is looked at again that is due, but whose deployment another core has in hand.
BUSY_S = 0.05

_EVENTS: dict[str, type[AttemptEvent]] = {
    TimerKind.QUEUE: QueueTimedOut,
    TimerKind.RUN: RunTimedOut,
    TimerKind.HEARTBEAT: HeartbeatLost,
    TimerKind.CANCEL: CancelTimedOut,
    TimerKind.DELAY: DelayEnded,
    TimerKind.APPROVAL: ApprovalExpired,
}
#: those of the deployment as a whole.
_OWN_EVENTS: dict[str, type[Event]] = {
    TimerKind.DEPLOYMENT: DeploymentTimedOut,
    TimerKind.LOCKS: LocksDue,
}


class Timers:
    """Knows when the next timer is due without asking the database; belongs to the core's thread."""

    def __init__(self) -> None:
        self._next_at: datetime | None = None
        self._is_stale = True

    def forget(self) -> None:
        """Read the next one from the database again: another process may have changed it."""
        self._is_stale = True

    def has_work(self, now: datetime) -> bool:
        """Tell whether a timer may be due."""
        return self._is_stale or (self._next_at is not None and self._next_at <= now)

    def note(self, rows: Iterable[TimerRow]) -> None:
        """Take note of timers that were started."""
        for row in rows:
            if self._next_at is None or row.due_at < self._next_at:
                self._next_at = row.due_at

    def refresh(self, unit: Unit, not_before: datetime) -> None:
        """Read when the next one is due, to be looked at `not_before`; ends a transaction that fired some."""
        next_at = unit.next_timer_at()
        self._next_at = next_at and max(next_at, not_before)
        self._is_stale = False


#: timers that a worker's reply stops.
_FOR_REPLIES = frozenset({TimerKind.QUEUE, TimerKind.RUN, TimerKind.HEARTBEAT})


def is_for_reply(row: TimerRow) -> bool:
    """Tell whether a timer waits for a worker's reply, which cannot come while the broker is away."""
    return row.kind in _FOR_REPLIES


def timer_request(row: TimerRow, now: datetime) -> Request:
    """Return the event that a due timer becomes; nothing is kept of one that came too late."""
    own = _OWN_EVENTS.get(row.kind)
    event = own(at=now) if own else _EVENTS[row.kind](at=now, attempt=row.attempt)
    return Request(row.deployment_id, event, is_kept=False)


class ClockWatch:
    """Notices when somebody sets the wall clock, so that no timer fires, or sleeps, for that reason."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: by how much timers had been moved when this began, or when a jump was dealt with; all cores' doing.
        self.shifted_s = 0.0
        self._wall_at, self._mono_s = clock.now(), clock.mono_s()

    def jump(self) -> timedelta | None:
        """Return by how much the clock has jumped since `accept`, or None."""
        passed = timedelta(seconds=self._clock.mono_s() - self._mono_s)
        drift = self._clock.now() - self._wall_at - passed
        return drift if abs(drift.total_seconds()) > JUMP_S else None

    def accept(self) -> None:
        """Begin again: the jump has been dealt with."""
        self._wall_at, self._mono_s = self._clock.now(), self._clock.mono_s()

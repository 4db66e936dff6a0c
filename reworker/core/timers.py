"""Timers: rows in the database that become events when they are due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reworker.core.batch import Request
from reworker.fsm.commands import TimerKind
from reworker.fsm.events import (
    AttemptEvent,
    CancelTimedOut,
    HeartbeatLost,
    QueueTimedOut,
    RunTimedOut,
)
from reworker.storage.contract import TimerRow, Unit

_EVENTS: dict[str, type[AttemptEvent]] = {
    TimerKind.QUEUE: QueueTimedOut,
    TimerKind.RUN: RunTimedOut,
    TimerKind.HEARTBEAT: HeartbeatLost,
    TimerKind.CANCEL: CancelTimedOut,
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

    def refresh(self, unit: Unit) -> None:
        """Read when the next one is due, at the end of a transaction that handled those before."""
        self._next_at = unit.next_timer_at()
        self._is_stale = False


def timer_request(row: TimerRow, now: datetime) -> Request:
    """Return the event that a due timer becomes; nothing is kept of one that came too late."""
    event = _EVENTS[row.kind](at=now, attempt=row.attempt)
    return Request(row.deployment_id, event, is_kept=False)

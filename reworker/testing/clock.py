"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """See `clock.Clock`; `advance` moves both times.

    Args:
        at: wall time to begin with, aware.
    """

    def __init__(self, at: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) -> None:
        self._at, self._mono_s = at, 1000.0

    def now(self) -> datetime:
        """Return the wall time."""
        return self._at

    def mono_s(self) -> float:
        """Return the monotonic time."""
        return self._mono_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._at += timedelta(seconds=seconds)
        self._mono_s += seconds

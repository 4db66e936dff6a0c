"""The only place that reads time; everything else is given a Clock.

Wall time is an aware UTC datetime, for records. Monotonic time is seconds as a float, for durations.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time-dependent code asks for; tests pass a fake one."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        ...

    def mono_s(self) -> float:
        """Return monotonic seconds; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    #: the function itself: a step asks several times.
    mono_s = staticmethod(time.monotonic)


def iso(at: datetime) -> str:
    """Return `at` as RFC 3339 in UTC with milliseconds, for example ``2026-01-02T03:04:05.678Z``."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

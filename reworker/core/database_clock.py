"""The clock that all cores on one database share: that of the database."""

from __future__ import annotations

from datetime import datetime, timedelta

from reworker.clock import Clock
from reworker.storage.contract import Storage


class DatabaseClock:
    """Wall time as the database has it, so that machines whose clocks are apart fire no timer early.

    Monotonic time is this machine's own. Any thread may use it.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def now(self) -> datetime:
        """Return the database's wall time, aware, in UTC."""
        return self._clock.now() + timedelta(seconds=self._storage.clock_offset_s())

    def mono_s(self) -> float:
        """Return monotonic seconds; only differences mean anything."""
        return self._clock.mono_s()

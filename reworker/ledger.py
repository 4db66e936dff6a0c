"""Finished attempts with their final replies, so that a redelivery is answered and not run again.

In memory, or in a small SQLite file that the processes of one host share. Safe in all threads.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

import msgspec

from reworker.clock import Clock, SystemClock
from reworker.errors import ConfigError

#: finished attempts that are kept.
MAX_COUNT = 10_000
#: seconds they are kept: longer than a broker keeps a delivery unacknowledged by default (30 minutes).
MAX_AGE_S = 24 * 3600.0
#: milliseconds to wait for another process that writes the same file.
BUSY_MS = 5_000
#: finished attempts between two looks for old ones.
SWEEP_EVERY = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS finished
    (key TEXT PRIMARY KEY, status TEXT NOT NULL, body BLOB NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS returned
    (key TEXT PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
"""


class Finished(msgspec.Struct, frozen=True):
    """The final reply of an attempt: its status and its encoded body."""

    status: str
    body: bytes


class Ledger(Protocol):
    """What execution asks for."""

    def find(self, key: str, *, is_redelivered: bool = True) -> Finished | None:
        """Return the final reply of an attempt; without redelivery only this process's own are looked at."""
        ...

    def record(self, key: str, finished: Finished) -> None:
        """Remember a final reply; an attempt that has one keeps it."""
        ...

    def forget(self, key: str) -> None:
        """Drop an attempt: it starts anew."""
        ...

    def count_return(self, key: str) -> int:
        """Return how often this attempt came back unfinished, this time included."""
        ...

    def close(self) -> None:
        """Release the file. Safe twice."""
        ...


class MemoryLedger:
    """Lives as long as the process; bounded by count."""

    def __init__(self, max_count: int = MAX_COUNT) -> None:
        self._max_count = max_count
        self._lock = threading.Lock()
        self._finished: OrderedDict[str, Finished] = OrderedDict()
        self._returned: OrderedDict[str, int] = OrderedDict()

    def find(self, key: str, *, is_redelivered: bool = True) -> Finished | None:
        """Return the final reply of an attempt."""
        return self._finished.get(key)

    def record(self, key: str, finished: Finished) -> None:
        """Remember a final reply."""
        with self._lock:
            self._finished.setdefault(key, finished)
            if len(self._finished) > self._max_count:
                self._finished.popitem(last=False)

    def forget(self, key: str) -> None:
        """Drop an attempt."""
        self._finished.pop(key, None)

    def count_return(self, key: str) -> int:
        """Return how often this attempt came back unfinished, this time included."""
        with self._lock:
            count = self._returned[key] = self._returned.pop(key, 0) + 1
            if len(self._returned) > self._max_count:
                self._returned.popitem(last=False)
            return count

    def close(self) -> None:
        """Nothing to release."""


class FileLedger:
    """A SQLite file shared by the processes of one host, behind a memory of this process's own attempts.

    It has to survive a killed process, not a power failure, so it does not wait for the disk.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str, *, clock: Clock | None = None, max_age_s: float = MAX_AGE_S) -> None:
        self._clock, self._max_age_s = clock or SystemClock(), max_age_s
        self._memory = MemoryLedger()
        self._lock = threading.Lock()
        self._recorded_count = 0
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"cannot open the ledger: {error}", key="ledger", path=path) from error

    def find(self, key: str, *, is_redelivered: bool = True) -> Finished | None:
        """Return the final reply of an attempt; the file is read for redeliveries."""
        known = self._memory.find(key)
        if known is not None or not is_redelivered:
            return known
        with self._lock:
            row = self._db.execute("SELECT status, body FROM finished WHERE key = ?", (key,)).fetchone()
        return Finished(row[0], row[1]) if row else None

    def record(self, key: str, finished: Finished) -> None:
        """Remember a final reply."""
        self._memory.record(key, finished)
        row = (key, finished.status, finished.body, self._now_s())
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO finished VALUES (?, ?, ?, ?)", row)
            self._recorded_count += 1
            if self._recorded_count % SWEEP_EVERY == 0:
                self._sweep()

    def forget(self, key: str) -> None:
        """Drop an attempt."""
        self._memory.forget(key)
        with self._lock:
            self._db.execute("DELETE FROM finished WHERE key = ?", (key,))

    def count_return(self, key: str) -> int:
        """Return how often this attempt came back unfinished, this time included."""
        statement = (
            "INSERT INTO returned VALUES (?, 1, ?) "
            "ON CONFLICT (key) DO UPDATE SET count = count + 1, at = excluded.at RETURNING count"
        )
        with self._lock:
            row = self._db.execute(statement, (key, self._now_s())).fetchone()
        return int(row[0])

    def close(self) -> None:
        """Release the file. Safe twice."""
        with self._lock:
            self._db.close()

    def _sweep(self) -> None:
        oldest = self._now_s() - self._max_age_s
        for table in ("finished", "returned"):
            self._db.execute(f"DELETE FROM {table} WHERE at < ?", (oldest,))

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def open_ledger(path: str) -> Ledger:
    """Return the ledger in this file, or one in memory when `path` is empty.

    Raises:
        ConfigError: the file cannot be opened.
    """
    return FileLedger(path) if path else MemoryLedger()

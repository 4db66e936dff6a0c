"""Finished attempts with their final replies, so that a redelivery is answered and not run again.

In memory, or in a small SQLite file that the processes of one host share. Safe in all threads. It also counts
how often an attempt came back from a lost worker.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from reworker.clock import Clock, SystemClock
from reworker.errors import ConfigError
from reworker.logs import escaped

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: finished attempts that are kept in memory, and bytes of their replies.
MEMORY_COUNT, MEMORY_BYTES = 10_000, 64 << 20
#: finished attempts that a file keeps.
MAX_COUNT = 100_000
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
_COUNT_LOSS = (
    "INSERT INTO returned VALUES (?, 1, ?) "
    "ON CONFLICT (key) DO UPDATE SET count = count + 1, at = excluded.at RETURNING count"
)
#: what is older than this many others.
_SURPLUS = "DELETE FROM {0} WHERE at <= (SELECT at FROM {0} ORDER BY at DESC LIMIT 1 OFFSET ?)"


class Finished(msgspec.Struct, frozen=True, gc=False):
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

    def count_loss(self, key: str) -> int:
        """Return how often this attempt came back from a lost worker, this time included."""
        ...

    def forget_losses(self, key: str) -> None:
        """A job of this attempt has ended: its worker was not lost."""
        ...

    def close(self) -> None:
        """Release the file. Safe twice."""
        ...


class MemoryLedger:
    """Lives as long as the process; bounded by count and by the size of the replies."""

    def __init__(self, max_count: int = MEMORY_COUNT, max_bytes: int = MEMORY_BYTES) -> None:
        self._max_count, self._max_bytes = max_count, max_bytes
        self._lock = threading.Lock()
        self._finished: OrderedDict[str, Finished] = OrderedDict()
        self._size_bytes = 0
        self._losses: OrderedDict[str, int] = OrderedDict()

    def find(self, key: str, *, is_redelivered: bool = True) -> Finished | None:
        """Return the final reply of an attempt."""
        return self._finished.get(key)

    def record(self, key: str, finished: Finished) -> None:
        """Remember a final reply."""
        with self._lock:
            if key in self._finished:
                return
            self._finished[key] = finished
            self._size_bytes += len(finished.body)
            while len(self._finished) > self._max_count or self._size_bytes > self._max_bytes:
                self._size_bytes -= len(self._finished.popitem(last=False)[1].body)

    def forget(self, key: str) -> None:
        """Drop an attempt."""
        with self._lock:
            dropped = self._finished.pop(key, None)
            self._size_bytes -= len(dropped.body) if dropped is not None else 0

    def count_loss(self, key: str) -> int:
        """Return how often this attempt came back from a lost worker, this time included."""
        with self._lock:
            count = self._losses[key] = self._losses.pop(key, 0) + 1
            if len(self._losses) > self._max_count:
                self._losses.popitem(last=False)
            return count

    def forget_losses(self, key: str) -> None:
        """A job of this attempt has ended."""
        self._losses.pop(key, None)

    def close(self) -> None:
        """Nothing to release."""


class FileLedger:
    """A SQLite file shared by the processes of one host, behind a memory of this process's own attempts.

    Keys are kept escaped: a correlation id may hold what is no UTF-8, and SQLite takes no such text.
    It has to survive a killed process, not a power failure, so it does not wait for the disk. A file that
    fails later costs a warning and not the worker: what this process has done, it still knows.

    Args:
        path: of the file; its folder is made.
        clock: for ages.
        max_age_s: seconds that attempts are kept.
        max_count: attempts that are kept; looked at now and then, so that there may be some more.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        *,
        clock: Clock | None = None,
        max_age_s: float = MAX_AGE_S,
        max_count: int = MAX_COUNT,
    ) -> None:
        self._path, self._clock = path, clock or SystemClock()
        self._max_age_s, self._max_count = max_age_s, max_count
        self._memory = MemoryLedger()
        self._lock = threading.Lock()
        self._recorded_count = 0
        self._failure = ""
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=OFF")
            self._db.executescript(_SCHEMA)
            self._sweep()
        except (OSError, sqlite3.Error) as error:
            reason = f"cannot open the ledger: {error}; name a file that can be written, or none"
            raise ConfigError(reason, key="ledger", path=path) from error

    def find(self, key: str, *, is_redelivered: bool = True) -> Finished | None:
        """Return the final reply of an attempt; the file is read for redeliveries."""
        known = self._memory.find(key)
        if known is not None or not is_redelivered:
            return known
        query = "SELECT status, body FROM finished WHERE key = ?"
        row = self._tried(lambda: self._db.execute(query, (escaped(key),)).fetchone(), None)
        return Finished(row[0], row[1]) if row else None

    def record(self, key: str, finished: Finished) -> None:
        """Remember a final reply."""
        self._memory.record(key, finished)
        row = (escaped(key), finished.status, finished.body, self._now_s())
        self._tried(lambda: self._insert(row), None)

    def forget(self, key: str) -> None:
        """Drop an attempt."""
        self._memory.forget(key)
        self._tried(lambda: self._db.execute("DELETE FROM finished WHERE key = ?", (escaped(key),)), None)

    def count_loss(self, key: str) -> int:
        """Return how often this attempt came back from a lost worker, this time included."""
        own = self._memory.count_loss(key)
        values = escaped(key), self._now_s()
        row = self._tried(lambda: self._db.execute(_COUNT_LOSS, values).fetchone(), (own,))
        return max(own, int(row[0]))

    def forget_losses(self, key: str) -> None:
        """A job of this attempt has ended."""
        self._memory.forget_losses(key)
        self._tried(lambda: self._db.execute("DELETE FROM returned WHERE key = ?", (escaped(key),)), None)

    def close(self) -> None:
        """Release the file. Safe twice."""
        with self._lock:
            self._db.close()

    def _tried(self, call: Callable[[], T], otherwise: T) -> T:
        """Return what a call gives; when the file fails, say so once, until it works again."""
        with self._lock:
            try:
                result = call()
            except sqlite3.Error as error:
                if str(error) != self._failure:
                    text = "the ledger %s fails (%s): while it does, a step whose worker dies may end unknown"
                    logger.warning(text, self._path, error)
                self._failure = str(error)
                return otherwise
            if self._failure:
                logger.warning("the ledger %s works again", self._path)
                self._failure = ""
            return result

    def _insert(self, row: tuple[str, str, bytes, float]) -> None:
        self._db.execute("INSERT OR IGNORE INTO finished VALUES (?, ?, ?, ?)", row)
        self._recorded_count += 1
        if self._recorded_count % SWEEP_EVERY == 0:
            self._sweep()

    def _sweep(self) -> None:
        oldest = self._now_s() - self._max_age_s
        for table in ("finished", "returned"):
            self._db.execute(f"DELETE FROM {table} WHERE at < ?", (oldest,))
            self._db.execute(_SURPLUS.format(table), (self._max_count,))

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def open_ledger(path: str, *, max_age_s: float = MAX_AGE_S, max_count: int = MAX_COUNT) -> Ledger:
    """Return the ledger in this file, or one in memory when `path` is empty.

    Raises:
        ConfigError: the file cannot be opened.
    """
    return FileLedger(path, max_age_s=max_age_s, max_count=max_count) if path else MemoryLedger()

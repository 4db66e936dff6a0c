"""Leases that outlive the process: who has which step, in the file of the ledger.

After a restart the broker delivers a leased message again. Without this, its step would be with a worker that
nobody knows: ended `unknown`, or handed to a second one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from logging import Logger
from pathlib import Path
from typing import Any

import msgspec

from reworker.errors import ConfigError
from reworker.ledger import BUSY_MS
from reworker.logs import escaped

#: seconds between a change that nobody waits for and its writing.
FLUSH_S = 0.2

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases
    (key TEXT PRIMARY KEY, row BLOB NOT NULL, ends_at REAL NOT NULL) WITHOUT ROWID;
"""


class LeaseRow(msgspec.Struct, frozen=True):
    """One lease, as it is remembered.

    Args:
        key: of its attempt.
        name, domain: what was polled.
        task_id: as it was offered.
        worker_id: who has it.
        poll_count: how often it was offered.
        offered_s: when it was first, in seconds since 1970.
        again_s: when it is to be offered again; 0 is that a worker has it.
        ends_s: when its worker has been silent for too long.
        output: what its worker reported last.
    """

    key: str
    name: str
    domain: str
    task_id: str
    worker_id: str
    poll_count: int
    offered_s: float
    again_s: float
    ends_s: float
    output: dict[str, Any] = {}


class LeaseBook:
    """Remembers leases, in a file when there is one. Any thread.

    A file that fails later costs a warning: then a restart finds its leases no more. What somebody waits for
    is written by a thread of its own, with all that has come meanwhile in one transaction.

    Args:
        path: of the file; empty is none.
        logger: of the gateway.
        wake: called with what is to be done soon, on a thread that may wait for the disk.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str, logger: Logger, wake: Callable[[float, Callable[[], None]], None]) -> None:
        self._path, self._logger, self._wake = path, logger, wake
        self._lock, self._file_lock = threading.Lock(), threading.Lock()
        self._changes: dict[str, LeaseRow | None] = {}
        self._written: set[str] = set()
        self._is_waiting = False
        self._failure = ""
        self._callers: list[Callable[[], None]] = []
        self._writer = ThreadPoolExecutor(1, "gateway leases")
        self._db = self._opened() if path else None

    def _opened(self) -> sqlite3.Connection:
        try:
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            db.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=OFF")
            db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            reason = f"cannot keep leases: {error}; name a file that can be written, or none"
            raise ConfigError(reason, key="ledger", path=self._path) from error
        return db

    @property
    def is_kept(self) -> bool:
        """Whether there is a file."""
        return self._db is not None

    def load(self, now_s: float) -> list[LeaseRow]:
        """Return the leases that are not over, and forget the others."""
        if self._db is None:
            return []
        try:
            with self._file_lock:
                self._db.execute("DELETE FROM leases WHERE ends_at < ?", (now_s,))
                rows = self._db.execute("SELECT row FROM leases").fetchall()
            found = [msgspec.json.decode(row[0], type=LeaseRow) for row in rows]
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._logger.warning("the leases of before cannot be read from %s: %s", self._path, error)
            return []
        self._written.update(one.key for one in found)
        return found

    def note(self, row: LeaseRow) -> None:
        """Remember a lease as it is now."""
        self._change(row.key, row)

    def drop(self, key: str) -> None:
        """Forget a lease: it is over."""
        self._change(key, None)

    def _change(self, key: str, row: LeaseRow | None) -> None:
        if self._db is None:
            return
        with self._lock:
            if row is None and key not in self._written:
                self._changes.pop(key, None)
                return
            self._changes[key] = row
            is_waiting, self._is_waiting = self._is_waiting, True
        if not is_waiting:
            self._wake(FLUSH_S, self.flush)

    def when_written(self, call: Callable[[], None]) -> None:
        """Make a call once all that was noted is in the file, or cannot be; at once without a file."""
        with self._lock:
            is_kept = self._db is not None
            if is_kept:
                self._callers.append(call)
                if len(self._callers) == 1:
                    self._writer.submit(self._write_and_tell)
        if not is_kept:
            call()

    def _write_and_tell(self) -> None:
        """On the writer's thread."""
        with self._lock:
            callers, self._callers = self._callers, []
        self.flush()
        for call in callers:
            try:
                call()
            except Exception:  # the others are to be told all the same
                self._logger.exception("nobody could be told that a lease is written: %r", call)

    def flush(self) -> None:
        """Write what has changed."""
        with self._file_lock:  # around all of it: what is taken later is written later
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            changes, self._changes, self._is_waiting = self._changes, {}, False
            kept = [one for one in changes.values() if one is not None]
            dropped = [key for key, row in changes.items() if row is None]
            self._written.update(one.key for one in kept)
            self._written.difference_update(dropped)
        if not changes or self._db is None:
            return
        try:
            self._write(self._db, kept, dropped)
            self._failure = ""
        except (sqlite3.Error, msgspec.MsgspecError, TypeError) as error:
            if str(error) != self._failure:
                self._failure = str(error)
                self._logger.warning("%s fails (%s): a restart would lose leases", self._path, error)

    def _write(self, db: sqlite3.Connection, kept: list[LeaseRow], dropped: list[str]) -> None:
        rows = [(escaped(one.key), msgspec.json.encode(one), one.ends_s) for one in kept]
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", rows)
            db.executemany("DELETE FROM leases WHERE key = ?", [(escaped(key),) for key in dropped])
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def close(self) -> None:
        """Write what is left and release the file. Safe twice."""
        self.flush()
        with self._file_lock, self._lock:
            db, self._db = self._db, None
            if db is not None:
                db.close()
        self._writer.shutdown()

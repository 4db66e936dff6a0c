"""Persistent messages in SQLite, beside the durable definitions; they survive kill -9 of the broker.

All changes of one loop iteration are one transaction, so a dead-lettered message is in exactly one queue.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from reworker.broker.codec import raw_text, text
from reworker.broker.definitions import Definitions
from reworker.broker.model import Entry, Message
from reworker.errors import ConfigError, StorageUnavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS message (queue INT, position INT, exchange BLOB, routing_key BLOB, props BLOB,
    body BLOB, expires_unix_s REAL, is_redelivered INT, delivery_count INT, PRIMARY KEY (queue, position));
"""


def _create_private(path: str | Path) -> None:
    """Create the file for its owner alone, if it is not there: messages may hold secrets.

    SQLite gives the files beside it the same mode.
    """
    with contextlib.suppress(OSError):  # one that cannot be made is an error of SQLite, as ever
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


class Store:
    """The file of one broker; used on the broker's loop only. Nothing is durable before `commit`.

    Args:
        path: SQLite file, created when it is missing.
        unix_to_mono_s: what to add to a wall time in seconds to have monotonic seconds.

    Raises:
        ConfigError: the file is no database, or another broker has it open.
    """

    def __init__(self, path: str | Path, unix_to_mono_s: float) -> None:
        self._unix_to_mono_s = unix_to_mono_s
        self._new: dict[tuple[int, int], Entry] = {}
        self._changed: dict[tuple[int, int], Entry] = {}
        self._gone: list[tuple[int, int]] = []
        _create_private(path)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            # exclusive: a second broker on the same file would mix up both; NORMAL survives a killed process
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
            self.definitions = Definitions(self._db)
        except sqlite3.Error as error:
            self._db.close()
            is_locked = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            reason = (
                "another broker uses it" if is_locked else f"cannot be used as the broker's store: {error}"
            )
            raise ConfigError(reason, key="store", path=str(path)) from error

    def close(self) -> None:
        """Commit and close the file; raises what `commit` raises."""
        try:
            self.commit()
        finally:
            self._db.close()

    def commit(self) -> None:
        """Make everything since the last call durable, as one transaction.

        Raises:
            StorageUnavailable: the disk is full or broken; the changes are kept for the next call.
        """
        if not (self._new or self._changed or self._gone or self._db.in_transaction):
            return
        try:
            self._write()
        except sqlite3.Error as error:
            raise StorageUnavailable(f"the broker's store cannot commit: {error}") from error
        self._new, self._changed, self._gone = {}, {}, []

    def _write(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [self._row(key, entry) for key, entry in self._new.items()],
        )
        self._db.executemany(
            "UPDATE message SET is_redelivered = ?, delivery_count = ? WHERE queue = ? AND position = ?",
            [(entry.is_redelivered, entry.delivery_count, *key) for key, entry in self._changed.items()],
        )
        self._db.executemany("DELETE FROM message WHERE queue = ? AND position = ?", self._gone)
        self._db.execute("COMMIT")

    def _row(self, key: tuple[int, int], entry: Entry) -> tuple[object, ...]:
        message, expires = entry.message, entry.expires_mono_s
        return (
            *key,
            raw_text(message.exchange),
            raw_text(message.routing_key),
            message.props,
            message.body,
            None if expires is None else expires - self._unix_to_mono_s,
            entry.is_redelivered,
            entry.delivery_count,
        )

    # Messages

    def keep(self, store_id: int, entry: Entry) -> None:
        """Keep an entry; its delivery state is read when the loop iteration is committed."""
        key = (store_id, entry.position)
        if not entry.is_stored:
            entry.is_stored = True
            self._new[key] = entry
        elif key not in self._new:
            self._changed[key] = entry

    def forget(self, store_id: int, entry: Entry) -> None:
        """Forget an entry; one that came and went in the same iteration never touches the file."""
        key = (store_id, entry.position)
        if self._new.pop(key, None) is None:
            self._changed.pop(key, None)
            self._gone.append(key)

    def entries(self, store_id: int) -> Iterator[Entry]:
        """Return the kept entries of a queue in their order."""
        sql = "SELECT * FROM message WHERE queue = ? ORDER BY position"
        for row in self._db.execute(sql, (store_id,)):
            _, position, exchange, key, props, body, expires_unix_s, is_redelivered, delivery_count = row
            expires = None if expires_unix_s is None else expires_unix_s + self._unix_to_mono_s
            entry = Entry(Message(text(exchange), text(key), props, body), position, expires)
            entry.is_stored, entry.is_redelivered = True, bool(is_redelivered)
            entry.delivery_count = delivery_count
            yield entry

    def remove_queue(self, store_id: int) -> None:
        """Forget a queue and its messages."""
        self._new = {key: entry for key, entry in self._new.items() if key[0] != store_id}
        self._changed = {key: entry for key, entry in self._changed.items() if key[0] != store_id}
        self.definitions.remove_queue(store_id)
        self._db.execute("DELETE FROM message WHERE queue = ?", (store_id,))

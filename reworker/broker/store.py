"""Durable definitions and persistent messages in SQLite; they survive kill -9 of the broker.

All changes of one loop iteration are one transaction, so a dead-lettered message is in exactly one queue.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from reworker.broker.codec import decode_table, raw_text, text
from reworker.broker.model import Binding, Entry, Exchange, Message
from reworker.broker.queues import Queue
from reworker.errors import ConfigError

#: names are stored as bytes: on the wire they need not be text.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vhost (name BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS exchange (vhost BLOB, name BLOB, kind TEXT, auto_delete INT, internal INT,
    arguments BLOB, PRIMARY KEY (vhost, name));
CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY, vhost BLOB, name BLOB, auto_delete INT,
    arguments BLOB, UNIQUE (vhost, name));
CREATE TABLE IF NOT EXISTS binding (vhost BLOB, source BLOB, kind TEXT, destination BLOB, routing_key BLOB,
    arguments BLOB, PRIMARY KEY (vhost, source, kind, destination, routing_key, arguments));
CREATE TABLE IF NOT EXISTS message (queue INT, position INT, exchange BLOB, routing_key BLOB, props BLOB,
    body BLOB, expires_unix_s REAL, is_redelivered INT, delivery_count INT, PRIMARY KEY (queue, position));
"""


class StoredQueue(NamedTuple):
    """A durable queue as it was declared."""

    store_id: int
    vhost: str
    name: str
    auto_delete: bool
    arguments: bytes


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
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        try:
            # exclusive: a second broker on the same file would mix up both; NORMAL survives a killed process
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise ConfigError(
                f"cannot be used as the broker's store: {error}", key="store", path=str(path)
            ) from error

    def close(self) -> None:
        """Commit and close the file."""
        self.commit()
        self._db.close()

    def commit(self) -> None:
        """Make everything since the last call durable, as one transaction.

        Raises:
            sqlite3.Error: the disk is full or broken; the changes are kept for the next call.
        """
        if not (self._new or self._changed or self._gone or self._db.in_transaction):
            return
        self._begin()
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
        self._new, self._changed, self._gone = {}, {}, []

    def _begin(self) -> None:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")

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

    def _execute(self, sql: str, *values: object) -> int:
        self._begin()
        return self._db.execute(sql, values).lastrowid or 0

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

    # Definitions

    def add_vhost(self, name: str) -> None:
        """Keep a vhost."""
        self._execute("INSERT OR IGNORE INTO vhost VALUES (?)", raw_text(name))

    def vhosts(self) -> list[str]:
        """Return the names of the kept vhosts."""
        return [text(row[0]) for row in self._db.execute("SELECT name FROM vhost")]

    def add_exchange(self, vhost: str, exchange: Exchange) -> None:
        """Keep a durable exchange."""
        self._execute(
            "INSERT OR REPLACE INTO exchange VALUES (?, ?, ?, ?, ?, ?)",
            raw_text(vhost),
            raw_text(exchange.name),
            exchange.kind,
            exchange.auto_delete,
            exchange.internal,
            exchange.arguments.raw,
        )

    def remove_exchange(self, vhost: str, name: str) -> None:
        """Forget an exchange."""
        self._execute("DELETE FROM exchange WHERE vhost = ? AND name = ?", raw_text(vhost), raw_text(name))

    def exchanges(self, vhost: str) -> Iterator[Exchange]:
        """Return the kept exchanges of a vhost."""
        sql = "SELECT name, kind, auto_delete, internal, arguments FROM exchange WHERE vhost = ?"
        for name, kind, auto_delete, internal, arguments in self._db.execute(sql, (raw_text(vhost),)):
            yield Exchange(
                text(name),
                kind,
                auto_delete=bool(auto_delete),
                internal=bool(internal),
                arguments=decode_table(arguments),
            )

    def add_queue(self, vhost: str, queue: Queue) -> int:
        """Keep a durable queue and return its key in the store, above 0."""
        sql = "INSERT INTO queue (vhost, name, auto_delete, arguments) VALUES (?, ?, ?, ?)"
        return self._execute(
            sql, raw_text(vhost), raw_text(queue.name), queue.auto_delete, queue.arguments.raw
        )

    def remove_queue(self, store_id: int) -> None:
        """Forget a queue and its messages."""
        self._new = {key: entry for key, entry in self._new.items() if key[0] != store_id}
        self._changed = {key: entry for key, entry in self._changed.items() if key[0] != store_id}
        self._execute("DELETE FROM message WHERE queue = ?", store_id)
        self._execute("DELETE FROM queue WHERE id = ?", store_id)

    def queues(self, vhost: str) -> list[StoredQueue]:
        """Return the kept queues of a vhost."""
        sql = "SELECT id, name, auto_delete, arguments FROM queue WHERE vhost = ?"
        rows = self._db.execute(sql, (raw_text(vhost),))
        return [
            StoredQueue(key, vhost, text(name), bool(auto), arguments) for key, name, auto, arguments in rows
        ]

    def add_binding(self, vhost: str, binding: Binding) -> None:
        """Keep a binding between durable ends."""
        self._execute(
            "INSERT OR IGNORE INTO binding VALUES (?, ?, ?, ?, ?, ?)", *_binding_row(vhost, binding)
        )

    def remove_binding(self, vhost: str, binding: Binding) -> None:
        """Forget a binding."""
        self._execute(
            "DELETE FROM binding WHERE vhost = ? AND source = ? AND kind = ? AND destination = ? "
            "AND routing_key = ? AND arguments = ?",
            *_binding_row(vhost, binding),
        )

    def bindings(self, vhost: str) -> list[Binding]:
        """Return the kept bindings of a vhost."""
        sql = "SELECT source, kind, destination, routing_key, arguments FROM binding WHERE vhost = ?"
        rows = self._db.execute(sql, (raw_text(vhost),))
        return [
            Binding(text(source), kind, text(end), text(key), raw) for source, kind, end, key, raw in rows
        ]


def _binding_row(vhost: str, binding: Binding) -> tuple[object, ...]:
    return (
        raw_text(vhost),
        raw_text(binding.source),
        binding.kind,
        raw_text(binding.destination),
        raw_text(binding.routing_key),
        binding.arguments,
    )

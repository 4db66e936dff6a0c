"""Durable vhosts, exchanges, queues and bindings in the store's file. It commits nothing itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from reworker.broker.codec import decode_table, raw_text, text
from reworker.broker.model import Binding, Exchange
from reworker.broker.queues import Queue

#: names are stored as bytes: on the wire they need not be text.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS vhost (name BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS exchange (vhost BLOB, name BLOB, kind TEXT, auto_delete INT, internal INT,
    arguments BLOB, PRIMARY KEY (vhost, name));
CREATE TABLE IF NOT EXISTS queue (id INTEGER PRIMARY KEY AUTOINCREMENT, vhost BLOB, name BLOB,
    auto_delete INT, arguments BLOB, UNIQUE (vhost, name));
CREATE TABLE IF NOT EXISTS binding (vhost BLOB, source BLOB, kind TEXT, destination BLOB, routing_key BLOB,
    arguments BLOB, PRIMARY KEY (vhost, source, kind, destination, routing_key, arguments));
"""


class StoredQueue(NamedTuple):
    """A durable queue as it was declared."""

    store_id: int
    vhost: str
    name: str
    auto_delete: bool
    arguments: bytes


class Definitions:
    """What is declared durable; changes join the store's open transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.executescript(_SCHEMA)

    def _execute(self, sql: str, *values: object) -> int:
        if not self._db.in_transaction:
            self._db.execute("BEGIN")
        return self._db.execute(sql, values).lastrowid or 0

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
        """Forget a queue; its messages are the store's."""
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

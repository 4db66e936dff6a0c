"""Statements that run once per row: compiled once, and fed to the driver as plain tuples.

For each row of an `executemany` the library looks up and converts each value anew, which cost more than all
the rest of a transaction. The SQL text, its errors and the values are the same this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Values = tuple[Any, ...]
_Convert = Callable[[Any], Any]

#: dialects that take parameters by place, by name; psycopg's takes them by name unless told.
DIALECTS: Mapping[str, Callable[[], Dialect]] = {
    "sqlite": sqlite.dialect,
    "postgresql": partial(psycopg.dialect, paramstyle="format"),
}


class RowStatement:
    """A statement whose parameters are fields of a row, or of a plain tuple; any thread.

    Args:
        statement: each of its parameters is named for a field; `prefix` may stand before the name.
        dialect: one of `DIALECTS`.
    """

    def __init__(self, statement: ClauseElement, dialect: Dialect, prefix: str = "") -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        names = compiled.positiontup or []
        self._text = compiled.string
        self._fields = attrgetter(*(name.removeprefix(prefix) for name in names))
        found = (compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names)
        self._converts: list[tuple[int, _Convert]] = [
            (place, convert) for place, convert in enumerate(found) if convert is not None
        ]

    def run(self, connection: Connection, rows: Iterable[msgspec.Struct]) -> int:
        """Run it for each row; return how many rows of the table it met."""
        return self.run_tuples(connection, [self._values(row) for row in rows])

    def run_tuples(self, connection: Connection, values: Sequence[Values]) -> int:
        """Run it for each tuple of values that need no conversion; return as `run` does."""
        if not values:
            return 0
        return int(connection.exec_driver_sql(self._text, list(values)).rowcount)

    def _values(self, row: msgspec.Struct) -> Values:
        values = list(self._fields(row))
        for place, convert in self._converts:
            if values[place] is not None:
                values[place] = convert(values[place])
        return tuple(values)

"""Statements of the hot path for SQLite: compiled once, and fed to the driver as plain tuples, row by row.

For each row of an `executemany` the library looks up and converts each value anew, which cost more than all
the rest of a transaction. The SQL text, its errors and the values are the same this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import JSON, Column, Connection, Select, Table, bindparam, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement, ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler

from reworker.storage.any_text import AnyText

Values = tuple[Any, ...]
#: what stands in a statement for the values of a row, by the names of its columns.
Source = dict[str, ColumnElement[Any]]
_PREFIX = "row_"


class RowStatement:
    """A statement on the rows of a batch; any thread.

    Args:
        columns: of the rows, each named for a field.
        make: returns the statement, given what stands for the values of a row.
    """

    def __init__(self, columns: Iterable[Column[Any]], make: Callable[[Source], ClauseElement]) -> None:
        dialect = sqlite.dialect()
        source: Source = {one.name: bindparam(_PREFIX + one.name, type_=one.type) for one in columns}
        compiled = make(source).compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        names = [name.removeprefix(_PREFIX) for name in compiled.positiontup or ()]
        self._text = compiled.string
        self._fields = attrgetter(*names)
        found = (source[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names)
        self._converts = [(place, convert) for place, convert in enumerate(found) if convert is not None]

    @staticmethod
    def insert(table: Table, source: Source) -> sqlite.Insert:
        """Return the statement that inserts the rows."""
        return sqlite.insert(table).values(source)

    @staticmethod
    def is_in(one: Column[Any], query: Select[Any]) -> ColumnElement[bool]:
        """Return the condition that a column has one of the values that a query gives."""
        return one.in_(query)

    @staticmethod
    def is_any(one: Column[Any], parameter: str) -> ColumnElement[bool]:
        """Return the condition that a column has one of the values of a list."""
        if isinstance(one.type, AnyText):
            # SQLite's JSON ends a text at NUL.
            return one.in_(bindparam(parameter, expanding=True))
        values = func.json_each(bindparam(parameter, type_=JSON)).table_valued("value")
        return one.in_(select(values.c.value))

    def run(self, connection: Connection, rows: Iterable[msgspec.Struct]) -> int:
        """Run it for each row; return how many rows of the table it met."""
        return self.run_tuples(connection, [self._values(row) for row in rows])

    def run_tuples(self, connection: Connection, values: Sequence[Values]) -> int:
        """Run it for each tuple of values, in the order of the columns, that need no conversion."""
        if not values:
            return 0
        return int(connection.exec_driver_sql(self._text, list(values)).rowcount)

    def _values(self, row: msgspec.Struct) -> Values:
        values = list(self._fields(row))
        for place, convert in self._converts:
            if values[place] is not None:
                values[place] = convert(values[place])
        return tuple(values)

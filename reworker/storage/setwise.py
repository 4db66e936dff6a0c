"""Statements of the hot path for a server: all rows of a batch in one statement, as one JSON text.

One statement per row costs the server a plan and the driver a message for each; arrays, the other way to
send many rows at once, are converted element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import starmap
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Dialect,
    LargeBinary,
    Select,
    Table,
    TypeDecorator,
    any_,
    bindparam,
    column,
    func,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.sql import ClauseElement, ColumnElement

from reworker.storage.any_text import AnyText, escaped, has_special
from reworker.storage.rowwise import Source, Values
from reworker.storage.schema import JsonText, UtcDateTime, utc_text

_encoder = msgspec.json.Encoder()


class _AnyTexts(TypeDecorator[list[str]]):
    """A list of texts, each as `AnyText` writes it."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> list[str | None]:
        """Escape what PostgreSQL would refuse."""
        return [escaped(one) for one in value or ()]


class SetStatement:
    """A statement on the rows of a batch; see `RowStatement`, which has the same methods."""

    def __init__(self, columns: Iterable[Column[Any]], make: Callable[[Source], ClauseElement]) -> None:
        # Its parameter is given by place: names would be looked for in the whole text each time.
        dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]  # the library's own
        wanted = list(columns)
        rows = func.json_to_recordset(bindparam("rows", type_=JSON)).table_valued(
            *(column(one.name, one.type) for one in wanted)
        )
        rows = rows.render_derived(with_types=True)
        #: it has one parameter, what `encoded` returns.
        self.text = str(make({one.name: rows.c[one.name] for one in wanted}).compile(dialect=dialect))
        names = [str(one.name) for one in wanted]
        self._fields = attrgetter(*names)
        #: what is encoded of each row; half as dear as a dict.
        self._encodable = msgspec.defstruct("Encodable", [(name, Any) for name in names])
        self._texts = [place for place, one in enumerate(wanted) if isinstance(one.type, AnyText)]
        found = ((place, _processor(one, dialect)) for place, one in enumerate(wanted))
        self._converts = [(place, convert) for place, convert in found if convert is not None]

    @staticmethod
    def insert(table: Table, source: Source) -> postgresql.Insert:
        """Return the statement that inserts the rows."""
        return postgresql.insert(table).from_select(list(source), select(*source.values()))

    @staticmethod
    def is_in(one: Column[Any], query: Select[Any]) -> ColumnElement[bool]:
        """Return the condition; as an array, the server looks the values up in the index of the column."""
        return one == any_(func.array(query.scalar_subquery()))

    @staticmethod
    def is_any(one: Column[Any], parameter: str) -> ColumnElement[bool]:
        """Return the condition that a column has one of the values of a list."""
        values = func.json_array_elements_text(bindparam(parameter, type_=_AnyTexts))
        return SetStatement.is_in(one, select(values))

    def run(self, connection: Connection, rows: Sequence[msgspec.Struct]) -> int:
        """Run it for all rows; return how many rows of the table it met."""
        return int(connection.exec_driver_sql(self.text, (self.encoded(rows),)).rowcount) if rows else 0

    def run_tuples(self, connection: Connection, values: Sequence[Values]) -> int:
        """Run it for all tuples of values, in the order of the columns."""
        return int(connection.exec_driver_sql(self.text, (self.encoded(values),)).rowcount) if values else 0

    def encoded(self, rows: Sequence[msgspec.Struct] | Sequence[Values]) -> str:
        """Return rows, or tuples of values in the order of the columns, as the statement's parameter."""
        is_tuples = isinstance(rows[0], tuple)
        found = list(zip(*(rows if is_tuples else map(self._fields, rows)), strict=True))
        for place, convert in self._converts:
            found[place] = tuple([one if one is None else convert(one) for one in found[place]])
        text = self._encoded(found)
        if has_special(text):
            for place in self._texts:
                found[place] = tuple(map(escaped, found[place]))
            text = self._encoded(found)
        return text

    def _encoded(self, found: Iterable[Values]) -> str:
        return _encoder.encode(list(starmap(self._encodable, zip(*found, strict=True)))).decode()


def _processor(one: Column[Any], dialect: psycopg.dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value that JSON can carry, and the server reads back, of a value of a column.

    Texts are escaped only when there is something to escape in any of them, which is seldom.
    """
    if isinstance(one.type, AnyText):
        return None
    if isinstance(one.type, LargeBinary):
        return lambda value: f"\\x{value.hex()}"
    if isinstance(one.type, UtcDateTime):
        return utc_text
    if isinstance(one.type, JsonText):
        return bytes.decode
    return one.type.dialect_impl(dialect).bind_processor(dialect)

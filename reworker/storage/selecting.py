"""Rows of a table as structs: the SELECT and the reading of it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from sqlalchemy import Engine, Select, Table, select

from reworker.storage.translating import translated

Row = TypeVar("Row", bound=msgspec.Struct)


def select_of(table: Table, kind: type[msgspec.Struct]) -> Select[Any]:
    """Return a SELECT of the columns that `kind` has, in its order."""
    return select(*(table.c[name] for name in kind.__struct_fields__))


def found_rows(engine: Engine, query: Select[Any], kind: type[Row]) -> list[Row]:
    """Return what a query finds, in a short transaction of its own."""
    with translated(f"reading {kind.__name__}"), engine.begin() as connection:
        return [kind(*row) for row in connection.execute(query)]

"""Definitions of task types, on both engines; see `definition_contract`."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete

from reworker.storage.definition_contract import DefinitionRow
from reworker.storage.schema import task_definition
from reworker.storage.selecting import found_rows, select_of
from reworker.storage.upserts import insert_into

_D = task_definition
_DEFINITION = select_of(_D, DefinitionRow)
#: of a definition, what may change.
_SAVED = ("document", "actor", "updated_at")


@cache
def _put(dialect: str) -> Any:
    """Return the statement that puts a definition, again when somebody changes it."""
    statement = insert_into(_D, dialect)
    return statement.on_conflict_do_update(
        index_elements=[_D.c.name], set_={name: statement.excluded[name] for name in _SAVED}
    )


class DefinitionTables:
    """The part of a writing transaction that is about definitions; see `DefinitionUnit`."""

    _connection: Connection

    def put_definition(self, row: DefinitionRow) -> None:
        """Store a definition; see `DefinitionUnit.put_definition`."""
        self._connection.execute(_put(self._connection.dialect.name), [msgspec.structs.asdict(row)])

    def drop_definition(self, name: str) -> bool:
        """Delete a definition; see `DefinitionUnit.drop_definition`."""
        return self._connection.execute(delete(_D).where(_D.c.name == name)).rowcount > 0


class DefinitionReads:
    """The reads that are about definitions; see `DefinitionReader`."""

    _engine: Engine

    def definition(self, name: str) -> DefinitionRow | None:
        """Return a definition; see `DefinitionReader.definition`."""
        found = found_rows(self._engine, _DEFINITION.where(_D.c.name == name), DefinitionRow)
        return found[0] if found else None

    def definitions(self) -> list[DefinitionRow]:
        """Return all definitions; see `DefinitionReader.definitions`."""
        return found_rows(self._engine, _DEFINITION.order_by(_D.c.name), DefinitionRow)

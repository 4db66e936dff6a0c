"""What a database must do for the definitions of task types, which workers that poll make; see `contract`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class DefinitionRow(msgspec.Struct, frozen=True):
    """What somebody has said of a task type.

    Args:
        name: of the type; a definition counts in all domains.
        document: JSON, as it came.
        actor: who said it last.
        created_at: when it was said first.
        updated_at: and last.
    """

    name: str
    document: bytes
    actor: str
    created_at: datetime
    updated_at: datetime


class DefinitionUnit(Protocol):
    """The part of a writing transaction that is about definitions."""

    def put_definition(self, row: DefinitionRow) -> None:
        """Store a definition; of one that is there, its time of creation stays."""
        ...

    def drop_definition(self, name: str) -> bool:
        """Delete a definition; tell whether it was there."""
        ...


class DefinitionReader(Protocol):
    """The reads that are about definitions."""

    def definition(self, name: str) -> DefinitionRow | None:
        """Return a definition."""
        ...

    def definitions(self) -> list[DefinitionRow]:
        """Return all definitions, by name."""
        ...

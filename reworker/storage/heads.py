"""What tells followers that a deployment has changed; see `heads_contract`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Engine, Select, or_, select

from reworker.storage import schema
from reworker.storage.heads_contract import HeadRow
from reworker.storage.translating import translated

_D = schema.deployment
_SELECT = select(*(_D.c[name] for name in HeadRow.__struct_fields__))
#: ids in one query; SQLite takes 32,766 parameters, and a query of many is slow to make.
_PART_COUNT = 500


class HeadReads:
    """The reads of followers; see `heads_contract.HeadReader`."""

    _engine: Engine

    def heads(self, ids: Collection[str]) -> list[HeadRow]:
        """Return those that exist; see `heads_contract.HeadReader.heads`."""
        listed, found = list(ids), []
        for first in range(0, len(listed), _PART_COUNT):
            part = listed[first : first + _PART_COUNT]
            found += self._head_rows(_SELECT.where(_D.c.id.in_(part)))
        return found

    def moving(self, statuses: Collection[str], after_id: str, *, limit: int) -> list[HeadRow]:
        """Return those at work and those that are new; see `heads_contract.HeadReader.moving`."""
        is_wanted = or_(_D.c.status.in_(list(statuses)), _D.c.id > after_id)
        return self._head_rows(_SELECT.where(is_wanted).order_by(_D.c.id.desc()).limit(limit))

    def _head_rows(self, query: Select[Any]) -> list[HeadRow]:
        with translated("looking for changes"), self._engine.begin() as connection:
            return [HeadRow(*row) for row in connection.execute(query)]

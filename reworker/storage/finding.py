"""Finding deployments among very many: filters, pages and counts; see `contract.DeploymentReader`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, false, func, select

from reworker.ids import make_id
from reworker.storage import schema
from reworker.storage.rows import ALL_DEPLOYMENTS, DeploymentFilter, DeploymentRow, PlaceCount
from reworker.storage.translating import translated

_D = schema.deployment
SELECT_DEPLOYMENT = select(*(_D.c[name] for name in DeploymentRow.__struct_fields__))
#: comes after all that ids are made of.
_BEHIND = "g"
#: what is before a character that stands for itself in a LIKE.
_ESCAPE = "\\"


class Finding:
    """The reads that find deployments; see `contract.DeploymentReader`."""

    _engine: Engine

    def deployments(
        self,
        *,
        limit: int,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentRow]:
        """Return deployments, newest first; see `contract.DeploymentReader.deployments`."""
        conditions = _conditions(wanted)
        conditions += [_D.c.status == status] if status else []
        conditions += [_D.c.id < before_id] if before_id else []
        # The ids alone first: of those that are not wanted in the end, no row is read whole.
        ids = select(_D.c.id).where(*conditions).order_by(_D.c.id.desc()).limit(limit)
        query = SELECT_DEPLOYMENT.where(_D.c.id.in_(ids)).order_by(_D.c.id.desc())
        return [DeploymentRow(*row) for row in self._read(query)]

    def deployment_with_key(self, idempotency_key: str) -> DeploymentRow | None:
        """Return the deployment of a key; see `contract.DeploymentReader.deployment_with_key`."""
        found = self._read(SELECT_DEPLOYMENT.where(_D.c.idempotency_key == idempotency_key))
        return DeploymentRow(*found[0]) if found else None

    def counts_by_status(self, wanted: DeploymentFilter = ALL_DEPLOYMENTS) -> dict[str, int]:
        """Count deployments; see `contract.DeploymentReader.counts_by_status`."""
        query = select(_D.c.status, func.count()).where(*_conditions(wanted)).group_by(_D.c.status)
        return {row[0]: row[1] for row in self._read(query)}

    def counts_by_place(self, wanted: DeploymentFilter = ALL_DEPLOYMENTS) -> list[PlaceCount]:
        """Count deployments; see `contract.DeploymentReader.counts_by_place`."""
        columns = (_D.c.status, _D.c.group, _D.c.environment)
        query = select(*columns, func.count()).where(*_conditions(wanted)).group_by(*columns)
        return [PlaceCount(*row) for row in self._read(query)]

    def _read(self, query: Select[Any]) -> list[Any]:
        with translated("finding deployments"), self._engine.begin() as connection:
            return list(connection.execute(query))


def _conditions(wanted: DeploymentFilter) -> list[ColumnElement[bool]]:
    lists = {"status": wanted.statuses, "group": wanted.groups, "environment": wanted.environments}
    found: list[ColumnElement[bool]] = [_D.c[name].in_(one) for name, one in lists.items() if one]
    if wanted.id:
        found += [_D.c.id >= wanted.id, _D.c.id < wanted.id + _BEHIND]
    words = {"playbook_id": wanted.playbook_id, "actor": wanted.actor}
    found += [_D.c[name] == word for name, word in words.items() if word]
    if wanted.name:
        # SQLite's LIKE ends at a NUL, which no name has.
        is_like = _D.c.name.ilike(_pattern(wanted.name), escape=_ESCAPE)
        found.append(false() if "\0" in wanted.name else is_like)
    if wanted.is_task is not None:
        found.append(_D.c.is_task == wanted.is_task)
    # Ids begin with the time, in milliseconds: they have the index that times would need.
    if wanted.created_after is not None:
        found += [_D.c.id >= make_id(wanted.created_after, 0), _D.c.created_at >= wanted.created_after]
    if wanted.created_before is not None:
        found += [_D.c.id <= make_id(wanted.created_before, -1), _D.c.created_at < wanted.created_before]
    return found


def _pattern(text: str) -> str:
    """Return the LIKE for a text that is somewhere in another."""
    for special in (_ESCAPE, "%", "_"):
        text = text.replace(special, _ESCAPE + special)
    return f"%{text}%"

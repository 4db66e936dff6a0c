"""Schedules, on both engines; see `task_contract`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Select, bindparam, delete, func, insert, select, update

from reworker.storage import task_schema as schema
from reworker.storage.selecting import found_rows, select_of
from reworker.storage.task_rows import ScheduleRow
from reworker.storage.translating import translated

_S = schema.schedule
_SCHEDULE = select_of(_S, ScheduleRow)
_HAS_DUE = select(_S.c.id).where(_S.c.next_at <= bindparam("now")).limit(1)
_KEPT = ("id", "project_id", "actor", "created_at")
_SAVED = tuple(name for name in ScheduleRow.__struct_fields__ if name not in _KEPT)
_SAVE = update(_S).where(_S.c.id == bindparam("own_id")).values({name: bindparam(name) for name in _SAVED})


class ScheduleTables:
    """The part of a writing transaction that is about schedules; see `task_contract.ScheduleUnit`."""

    _connection: Connection

    def add_schedules(self, rows: Sequence[ScheduleRow]) -> None:
        """Store schedules; see `ScheduleUnit.add_schedules`."""
        if rows:
            self._connection.execute(insert(_S), [msgspec.structs.asdict(row) for row in rows])

    def lock_schedule(self, schedule_id: str) -> ScheduleRow | None:
        """Return a schedule, locked; see `ScheduleUnit.lock_schedule`."""
        query = _SCHEDULE.where(_S.c.id == schedule_id).with_for_update()
        found = self._connection.execute(query).first()
        return ScheduleRow(*found) if found else None

    def save_schedules(self, rows: Sequence[ScheduleRow]) -> None:
        """Store what has changed; see `ScheduleUnit.save_schedules`."""
        if rows:
            values = [{"own_id": row.id} | {name: getattr(row, name) for name in _SAVED} for row in rows]
            self._connection.execute(_SAVE, values)

    def due_schedules(self, now: datetime, limit: int) -> list[ScheduleRow]:
        """Return schedules that are due, locked; see `ScheduleUnit.due_schedules`."""
        query = _SCHEDULE.where(_S.c.next_at <= now).order_by(_S.c.next_at).limit(limit)
        return self._passing_locked(query)

    def schedules_ahead(self, after: datetime) -> list[ScheduleRow]:
        """Return schedules that fired later than this; see `ScheduleUnit.schedules_ahead`."""
        return self._passing_locked(_SCHEDULE.where(_S.c.next_at.is_not(None), _S.c.last_at > after))

    def prune_schedules(self, before: datetime, limit: int) -> int:
        """Delete schedules that are over; see `ScheduleUnit.prune_schedules`."""
        query = select(_S.c.id).where(_S.c.next_at.is_(None), _S.c.updated_at < before).limit(limit)
        ids = [row[0] for row in self._connection.execute(query)]
        if ids:
            self._connection.execute(delete(_S).where(_S.c.id.in_(ids)))
        return len(ids)

    def _passing_locked(self, query: Select[Any]) -> list[ScheduleRow]:
        found = self._connection.execute(query.with_for_update(skip_locked=True))
        return [ScheduleRow(*row) for row in found]


class ScheduleReads:
    """The reads that are about schedules; see `task_contract.ScheduleReader`."""

    _engine: Engine

    def schedule(self, schedule_id: str) -> ScheduleRow | None:
        """Return a schedule; see `ScheduleReader.schedule`."""
        found = found_rows(self._engine, _SCHEDULE.where(_S.c.id == schedule_id), ScheduleRow)
        return found[0] if found else None

    def schedules(
        self, project_id: str, *, limit: int, offset: int = 0, status: str = ""
    ) -> list[ScheduleRow]:
        """Return schedules, newest first; see `ScheduleReader.schedules`."""
        query = _SCHEDULE.where(_S.c.project_id == project_id) if project_id else _SCHEDULE
        query = query.where(_S.c.status == status) if status else query
        query = query.order_by(_S.c.id.desc()).limit(limit).offset(offset)
        return found_rows(self._engine, query, ScheduleRow)

    def schedule_counts(self, project_id: str) -> dict[str, int]:
        """Return how many schedules have each status; see `ScheduleReader.schedule_counts`."""
        query = select(_S.c.status, func.count()).group_by(_S.c.status)
        query = query.where(_S.c.project_id == project_id) if project_id else query
        with translated("counting schedules"), self._engine.begin() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def has_due_schedules(self, now: datetime) -> bool:
        """Tell whether schedules are due; see `ScheduleReader.has_due_schedules`."""
        with translated("looking for schedules"), self._engine.begin() as connection:
            return connection.execute(_HAS_DUE, {"now": now}).scalar() is not None

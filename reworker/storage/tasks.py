"""Tasks, on both engines; see `task_contract`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    BindParameter,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from reworker.storage import task_schema as schema
from reworker.storage.rows import AttemptRow
from reworker.storage.schema import attempt, deployment
from reworker.storage.selecting import found_rows, select_of
from reworker.storage.task_rows import CodeLoad, TaskFilter, TaskRow, TaskWork
from reworker.storage.translating import translated

_T, _P, _C, _S = schema.task, schema.task_payload, schema.code, schema.schedule
_D, _A = deployment, attempt
_TASK = select_of(_T, TaskRow)
_IS_WAITING, _IS_ACTIVE = _T.c.phase == "waiting", _T.c.phase == "active"
#: of a task, what may change.
_SAVED = (
    *("status", "phase", "retry_task_id", "percent", "msg"),
    *("updated_at", "start_at", "end_at"),
)
_SAVE = update(_T).where(_T.c.id == bindparam("own_id")).values({name: bindparam(name) for name in _SAVED})
_NEVER_STARTED = and_(_T.c.phase == "over", _T.c.start_at.is_(None))
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_LOCK = _TASK.where(_T.c.id.in_(_IDS)).order_by(_T.c.id).with_for_update()
_PAYLOADS = select(_P.c.task_id, _P.c.payload).where(_P.c.task_id.in_(_IDS))
_READY = (
    _TASK.where(_IS_WAITING, _T.c.code_id == bindparam("code_id"), _T.c.due_at <= bindparam("now"))
    .order_by(_T.c.priority.desc(), _T.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
_ACTIVE_COUNT = select(func.count()).select_from(_T).where(_IS_ACTIVE, _T.c.code_id == bindparam("code_id"))
_NEXT_TASK = select(func.min(_T.c.due_at)).where(_IS_WAITING, _T.c.due_at > bindparam("now"))
_NEXT_SCHEDULE = select(func.min(_S.c.next_at)).where(_S.c.next_at > bindparam("now"))
_ATTEMPTS = select_of(_A, AttemptRow).where(_A.c.deployment_id.in_(_IDS)).order_by(_A.c.number)
_HAS_ENDED = exists().where(_D.c.id == _T.c.id, _D.c.ended_at.is_not(None))
_ENDED = (
    _TASK.where(_IS_ACTIVE, _HAS_ENDED)
    .order_by(_T.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True, of=_T)
)
_STARTED_AT = (
    select(func.min(_A.c.started_at)).where(_A.c.deployment_id == _T.c.id).correlate(_T).scalar_subquery()
)
_HAS_STARTED = exists().where(_A.c.deployment_id == _T.c.id, _A.c.started_at.is_not(None))
_IS_STARTED = and_(_IS_ACTIVE, _T.c.status == "queued", _HAS_STARTED)
_STARTED = (
    _TASK.add_columns(_STARTED_AT)
    .where(_IS_STARTED)
    .order_by(_T.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True, of=_T)
)
_ACTIVE = schema.task.alias("active")
#: a look at each code finds its first waiting task by an index; to group the tasks would read them all.
_WAITING_CODES = select(
    _C.c.id,
    _C.c.options,
    select(func.count())
    .select_from(_ACTIVE)
    .where(_ACTIVE.c.phase == "active", _ACTIVE.c.code_id == _C.c.id)
    .scalar_subquery(),
).where(
    _C.c.is_paused.is_(False),
    exists().where(_IS_WAITING, _T.c.code_id == _C.c.id, _T.c.due_at <= bindparam("now")),
)
_WORK = select(
    exists().where(_IS_ACTIVE, _HAS_ENDED),
    exists().where(_IS_STARTED),
    exists().where(_IS_WAITING, _T.c.due_at <= bindparam("now")),
)


class TaskTables:
    """The part of a writing transaction that is about tasks; see `task_contract.TaskUnit`."""

    _connection: Connection

    def add_tasks(self, rows: Sequence[TaskRow], payloads: Sequence[str]) -> None:
        """Store tasks with their payloads; see `TaskUnit.add_tasks`."""
        if rows:
            self._connection.execute(insert(_T), [msgspec.structs.asdict(row) for row in rows])
            values = [{"task_id": row.id, "payload": text} for row, text in zip(rows, payloads, strict=True)]
            self._connection.execute(insert(_P), values)

    def lock_tasks(self, ids: Collection[str]) -> dict[str, TaskRow]:
        """Return tasks, locked; see `TaskUnit.lock_tasks`."""
        found = self._connection.execute(_LOCK, {"ids": list(ids)}) if ids else ()
        return {row[0]: TaskRow(*row) for row in found}

    def save_tasks(self, rows: Sequence[TaskRow]) -> None:
        """Store what has changed; see `TaskUnit.save_tasks`."""
        if rows:
            values = [{"own_id": row.id} | {name: getattr(row, name) for name in _SAVED} for row in rows]
            self._connection.execute(_SAVE, values)

    def ready_tasks(self, code_id: str, now: datetime, limit: int) -> list[TaskRow]:
        """Return tasks to start, locked; see `TaskUnit.ready_tasks`."""
        values = {"code_id": code_id, "now": now, "count": limit}
        return [TaskRow(*row) for row in self._connection.execute(_READY, values)]

    def ended_tasks(self, limit: int) -> list[TaskRow]:
        """Return active tasks whose deployment has ended; see `TaskUnit.ended_tasks`."""
        return [TaskRow(*row) for row in self._connection.execute(_ENDED, {"count": limit})]

    def started_tasks(self, limit: int) -> list[tuple[TaskRow, datetime]]:
        """Return tasks that run and are not noted as such; see `TaskUnit.started_tasks`."""
        found = self._connection.execute(_STARTED, {"count": limit})
        return [(TaskRow(*row[:-1]), row[-1]) for row in found]

    def last_attempts(self, ids: Collection[str]) -> dict[str, AttemptRow]:
        """Return the last attempt of each task; see `TaskUnit.last_attempts`."""
        found = self._connection.execute(_ATTEMPTS, {"ids": list(ids)}) if ids else ()
        return {row.deployment_id: row for row in (AttemptRow(*one) for one in found)}

    def active_count(self, code_id: str) -> int:
        """Return how many tasks of a code are active; see `TaskUnit.active_count`."""
        return int(self._connection.execute(_ACTIVE_COUNT, {"code_id": code_id}).scalar_one())

    def payloads(self, ids: Collection[str]) -> dict[str, str]:
        """Return payloads; see `TaskUnit.payloads`."""
        found = self._connection.execute(_PAYLOADS, {"ids": list(ids)}) if ids else ()
        return {row[0]: row[1] for row in found}

    def open_ids(self, code_id: str) -> list[str]:
        """Return the tasks of a code that are not over; see `TaskUnit.open_ids`."""
        query = select(_T.c.id).where(_T.c.code_id == code_id, or_(_IS_WAITING, _IS_ACTIVE))
        return [row[0] for row in self._connection.execute(query.order_by(_T.c.id))]

    def prune_tasks(self, before: datetime, limit: int) -> int:
        """Delete tasks that never started; see `TaskUnit.prune_tasks`."""
        query = select(_T.c.id).where(
            _NEVER_STARTED, _T.c.end_at < before, ~exists().where(_D.c.id == _T.c.id)
        )
        ids = [row[0] for row in self._connection.execute(query.limit(limit))]
        if ids:
            self._connection.execute(delete(_P).where(_P.c.task_id.in_(ids)))
            self._connection.execute(delete(_T).where(_T.c.id.in_(ids)))
        return len(ids)


class TaskReads:
    """The reads that are about tasks; see `task_contract.TaskReader`."""

    _engine: Engine

    def task(self, task_id: str) -> TaskRow | None:
        """Return a task; see `TaskReader.task`."""
        found = found_rows(self._engine, _TASK.where(_T.c.id == task_id), TaskRow)
        return found[0] if found else None

    def payload(self, task_id: str) -> str:
        """Return a payload; see `TaskReader.payload`."""
        found = self._scalar(select(_P.c.payload).where(_P.c.task_id == task_id), "a payload")
        return str(found or "")

    def tasks(self, wanted: TaskFilter, *, limit: int, offset: int = 0) -> list[TaskRow]:
        """Return tasks, newest first; see `TaskReader.tasks`."""
        query = _TASK.where(*_conditions(wanted)).order_by(_T.c.id.desc()).limit(limit).offset(offset)
        return found_rows(self._engine, query, TaskRow)

    def task_counts(self, wanted: TaskFilter, updated_after: datetime | None = None) -> dict[str, int]:
        """Return how many tasks have each status; see `TaskReader.task_counts`."""
        conditions = _conditions(wanted)
        if updated_after is not None:
            conditions.append(_T.c.updated_at >= updated_after)
        query = select(_T.c.status, func.count()).where(*conditions).group_by(_T.c.status)
        with translated("counting tasks"), self._engine.begin() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def waiting_codes(self, now: datetime) -> list[CodeLoad]:
        """Return codes with tasks to start; see `TaskReader.waiting_codes`."""
        with translated("looking for tasks to start"), self._engine.begin() as connection:
            return [CodeLoad(*row) for row in connection.execute(_WAITING_CODES, {"now": now})]

    def next_task_at(self, now: datetime) -> datetime | None:
        """Return when something is due; see `TaskReader.next_task_at`."""
        with translated("reading what is due next"), self._engine.begin() as connection:
            both = (connection.execute(one, {"now": now}).scalar() for one in (_NEXT_TASK, _NEXT_SCHEDULE))
            return min((one for one in both if one is not None), default=None)

    def task_work(self, now: datetime) -> TaskWork:
        """Return what is to be done; see `TaskReader.task_work`."""
        with translated("looking at tasks"), self._engine.begin() as connection:
            return TaskWork(*map(bool, connection.execute(_WORK, {"now": now}).one()))

    def active_ids(self) -> list[str]:
        """Return the tasks that are active; see `TaskReader.active_ids`."""
        with translated("looking at tasks"), self._engine.begin() as connection:
            return [row[0] for row in connection.execute(select(_T.c.id).where(_IS_ACTIVE))]

    def _scalar(self, query: Select[Any], what: str) -> Any:
        with translated(f"reading {what}"), self._engine.begin() as connection:
            return connection.execute(query).scalar()


def _conditions(wanted: TaskFilter) -> list[Any]:
    words = {
        _T.c[name]: value
        for name in ("project_id", "code_id", "code_name", "label", "cluster", "schedule_id")
        if (value := getattr(wanted, name))
    }
    found: list[Any] = [column == value for column, value in words.items()]
    if wanted.statuses:
        found.append(_T.c.status.in_(wanted.statuses))
    if wanted.created_after is not None:
        found.append(_T.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        found.append(_T.c.created_at < wanted.created_before)
    if wanted.updated_after is not None:
        found.append(_T.c.updated_at >= wanted.updated_after)
    if wanted.updated_before is not None:
        found.append(_T.c.updated_at < wanted.updated_before)
    if wanted.before_id:
        found.append(_T.c.id < wanted.before_id)
    return found

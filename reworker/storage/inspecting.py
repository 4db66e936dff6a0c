"""Reads for people who ask whether a database is well; the core itself needs none of them."""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, case, func, literal, select, text, union_all

from reworker.storage import schema
from reworker.storage.contract import LockRow, StorageReport, TimerRow, WaitingRow
from reworker.storage.translating import translated
from reworker.storage.work_contract import WorkRow

_O, _T, _L, _W = schema.outbox, schema.timer, schema.lock, schema.lock_wait
_A = schema.attempt
_TIMERS = select(_T.c.deployment_id, _T.c.kind, _T.c.attempt, _T.c.due_at).order_by(_T.c.due_at)
_WAITING = select(*(_O.c[name] for name in WaitingRow.__struct_fields__)).order_by(_O.c.created_at)
_HELD = select(_L.c.name, _L.c.deployment_id, _L.c.fence.label("number"), literal(1).label("is_held"))
_ASKED = select(_W.c.name, _W.c.deployment_id, _W.c.ticket.label("number"), literal(0).label("is_held"))


class Inspecting:
    """The part of a reader that shows what waits in the database; see `contract.Reader`."""

    _engine: Engine

    def timers(self) -> list[TimerRow]:
        """Return all timers; see `contract.Reader.timers`."""
        return [TimerRow(*row) for row in self._all(_TIMERS)]

    def outbox(self) -> list[WaitingRow]:
        """Return what waits for the broker; see `contract.Reader.outbox`."""
        return [WaitingRow(*row) for row in self._all(_WAITING)]

    def locks(self) -> list[LockRow]:
        """Return locks and places in line; see `contract.Reader.locks`."""
        found = self._all(union_all(_HELD, _ASKED).order_by("name", text("is_held DESC"), "number"))
        return [LockRow(row[0], row[1], row[2], bool(row[3])) for row in found]

    def work(self, deployment_ids: Collection[str], since: datetime) -> list[WorkRow]:
        """Return attempts summed up; see `work_contract.WorkReader.work`."""
        return [WorkRow(*row) for row in self._all(_work(deployment_ids, since))] if deployment_ids else []

    def _all(self, query: Any) -> list[Any]:
        with translated("looking into the database"), self._engine.begin() as connection:
            return list(connection.execute(query))


def _work(deployment_ids: Collection[str], since: datetime) -> Select[Any]:
    def count(column: ColumnElement[Any]) -> ColumnElement[int]:
        return func.sum(case((column > since, 1), else_=0))

    return (
        select(
            *(_A.c.step, _A.c.status, _A.c.worker, func.count()),
            *(func.min(_A.c.sent_at), func.min(_A.c.started_at)),
            func.max(func.coalesce(_A.c.ended_at, _A.c.started_at)),
            *(count(_A.c.sent_at), count(_A.c.started_at), _A.c.domain),
        )
        .where(_A.c.deployment_id.in_(deployment_ids), _A.c.role != "approval")
        .group_by(_A.c.step, _A.c.status, _A.c.worker, _A.c.domain)
    )


def file_report(readers: Engine, path: Path) -> StorageReport:
    """Return what is to be said of a database file; reads all of it."""
    with translated(f"checking {path}"), readers.begin() as connection:
        found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check(10)"))]
        version = connection.execute(text("SELECT sqlite_version()")).scalar_one()
    disk = os.statvfs(path.parent)
    return StorageReport(
        engine=f"SQLite {version}, schema {schema.SCHEMA_VERSION}",
        size_bytes=path.stat().st_size,
        free_bytes=disk.f_bavail * disk.f_frsize,
        problems=tuple(one for one in found if one != "ok"),
    )


def server_report(readers: Engine, source: str) -> StorageReport:
    """Return what is to be said of a database on a server."""
    with translated(f"checking {source}"), readers.begin() as connection:
        version = connection.execute(text("SHOW server_version")).scalar_one()
        is_standby = connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one()
        size_bytes = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    problems = ("the server is a standby, which takes no writes",) if is_standby else ()
    engine = f"PostgreSQL {version}, schema {schema.SCHEMA_VERSION}"
    return StorageReport(engine, int(size_bytes), None, problems)

"""Reads beside the writer, each in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Engine, Select, Table, and_, func, select

from reworker.errors import DeploymentNotFound, PlaybookNotFound
from reworker.storage import schema
from reworker.storage.codes import CodeReads
from reworker.storage.contract import (
    AttemptRow,
    DeploymentRow,
    EventRow,
    InstanceRow,
    PlaybookRow,
    SourceRow,
)
from reworker.storage.definitions import DefinitionReads
from reworker.storage.finding import SELECT_DEPLOYMENT, Finding
from reworker.storage.heads import HeadReads
from reworker.storage.inspecting import Inspecting
from reworker.storage.marks import MarkReads
from reworker.storage.people import PeopleReads
from reworker.storage.schedules import ScheduleReads
from reworker.storage.tasks import TaskReads

#: tells settings apart from what else stands in the table ``meta``.
SETTING_PREFIX = "setting."

Row = TypeVar("Row", bound=msgspec.Struct)
Translated = Callable[[str], AbstractContextManager[None]]


def select_rows(table: Table, kind: type[msgspec.Struct]) -> Select[Any]:
    """Return a SELECT of the columns that `kind` has, in its order."""
    return select(*(table.c[name] for name in kind.__struct_fields__))


SELECT_EVENT = select_rows(schema.event, EventRow)
SELECT_ATTEMPT = select_rows(schema.attempt, AttemptRow)
SELECT_PLAYBOOK = select_rows(schema.playbook, PlaybookRow)
_newest = select(schema.playbook.c.id, func.max(schema.playbook.c.version).label("version")).group_by(
    schema.playbook.c.id
)


class SqlReader(
    Finding,
    HeadReads,
    Inspecting,
    MarkReads,
    PeopleReads,
    CodeReads,
    TaskReads,
    ScheduleReads,
    DefinitionReads,
):
    """Reads; see `contract.Reader`."""

    def __init__(self, engine: Engine, translated: Translated) -> None:
        self._engine, self._translated = engine, translated

    def deployment(self, deployment_id: str) -> DeploymentRow:
        """Return a deployment; see `contract.Reader.deployment`."""
        found = self._rows(SELECT_DEPLOYMENT.where(schema.deployment.c.id == deployment_id), DeploymentRow)
        if not found:
            raise DeploymentNotFound(deployment_id)
        return found[0]

    def plan(self, deployment_id: str) -> bytes:
        """Return the frozen plan; see `contract.Reader.plan`."""
        query = select(schema.plan.c.plan).where(schema.plan.c.deployment_id == deployment_id)
        with self._translated("reading a plan"), self._engine.begin() as connection:
            found: bytes | None = connection.execute(query).scalar()
        if found is None:
            raise DeploymentNotFound(deployment_id)
        return found

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = 1000) -> list[EventRow]:
        """Return events in order; see `contract.Reader.events`."""
        table = schema.event
        query = SELECT_EVENT.where(table.c.deployment_id == deployment_id, table.c.seq > after_seq)
        return self._rows(query.order_by(table.c.seq).limit(limit), EventRow)

    def attempts(self, deployment_id: str, *, after_number: int = 0, limit: int = 1000) -> list[AttemptRow]:
        """Return attempts in order; see `contract.Reader.attempts`."""
        table = schema.attempt
        query = SELECT_ATTEMPT.where(table.c.deployment_id == deployment_id, table.c.number > after_number)
        return self._rows(query.order_by(table.c.number).limit(limit), AttemptRow)

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version of a playbook; see `contract.Reader.playbook`."""
        table = schema.playbook
        query = SELECT_PLAYBOOK.where(table.c.id == playbook_id).order_by(table.c.version.desc()).limit(1)
        found = self._rows(query.where(table.c.version == version) if version else query, PlaybookRow)
        if not found:
            raise PlaybookNotFound(playbook_id)
        return found[0]

    def playbooks(self, *, group: str = "", limit: int = 1000) -> list[PlaybookRow]:
        """Return the newest version of each playbook; see `contract.Reader.playbooks`."""
        table, newest = schema.playbook, _newest.subquery()
        is_newest = and_(table.c.id == newest.c.id, table.c.version == newest.c.version)
        query = SELECT_PLAYBOOK.join(newest, is_newest).where(table.c.text != "")
        query = query.order_by(table.c.id.desc()).limit(limit)
        return self._rows(query.where(table.c.group == group) if group else query, PlaybookRow)

    def source(self, deployment_id: str) -> SourceRow | None:
        """Return what a deployment was made from; see `contract.Reader.source`."""
        table = schema.source
        query = select_rows(table, SourceRow).where(table.c.deployment_id == deployment_id)
        found = self._rows(query, SourceRow)
        return found[0] if found else None

    def instances(self) -> list[InstanceRow]:
        """Return the cores that were seen; see `contract.Reader.instances`."""
        return self._rows(select_rows(schema.instance, InstanceRow).order_by("name"), InstanceRow)

    def setting(self, name: str) -> bytes | None:
        """Return a setting of the database; see `contract.Reader.setting`."""
        query = select(schema.meta.c.value).where(schema.meta.c.name == f"{SETTING_PREFIX}{name}")
        with self._translated(f"reading {name}"), self._engine.begin() as connection:
            found: str | None = connection.execute(query).scalar()
        return None if found is None else found.encode("utf-8")

    def outbox_count(self) -> int:
        """Return how many messages wait; see `contract.Reader.outbox_count`."""
        with self._translated("counting the outbox"), self._engine.begin() as connection:
            return int(connection.execute(select(func.count()).select_from(schema.outbox)).scalar_one())

    def _rows(self, query: Select[Any], kind: type[Row]) -> list[Row]:
        with self._translated(f"reading {kind.__name__}"), self._engine.begin() as connection:
            return [kind(*row) for row in connection.execute(query)]

"""One writing transaction: locked reads, and each table written once for the whole batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Connection, Table, bindparam, insert, select, update

from reworker.errors import DeploymentNotFound, StaleVersion
from reworker.storage import schema
from reworker.storage.codes import CodeTables
from reworker.storage.contract import (
    AttemptRow,
    Changes,
    DeploymentRow,
    EventRow,
    PlaybookRow,
)
from reworker.storage.definitions import DefinitionTables
from reworker.storage.hot import hot_of
from reworker.storage.housekeeping import Housekeeping
from reworker.storage.locks import LockTable
from reworker.storage.people import PeopleTables
from reworker.storage.queues import QueueTables
from reworker.storage.reading import SELECT_EVENT, SELECT_PLAYBOOK
from reworker.storage.schedules import ScheduleTables
from reworker.storage.tasks import TaskTables

_D, _O, _A, _E = schema.deployment, schema.outbox, schema.attempt, schema.event

_RELEASE_OUTBOX = (
    update(_O)
    .where(_O.c.id == bindparam("row_id"))
    .values(claimed_by=None, claim_until=bindparam("not_before"))
)


class SqlUnit(
    QueueTables,
    LockTable,
    Housekeeping,
    PeopleTables,
    CodeTables,
    TaskTables,
    ScheduleTables,
    DefinitionTables,
):
    """One writing transaction; see `contract.Unit`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._hot = hot_of(connection.dialect.name)

    def deployments(self, ids: Collection[str]) -> dict[str, DeploymentRow]:
        """Return deployments by id; see `contract.Unit.deployments`."""
        if not ids:
            return {}
        rows = self._connection.execute(self._hot.deployments, {"ids": list(ids)})
        return {row[0]: DeploymentRow(*row) for row in rows}

    def versions(self, ids: Collection[str]) -> dict[str, int]:
        """Return versions by id; see `contract.Unit.versions`."""
        if not ids:
            return {}
        rows = self._connection.execute(self._hot.versions, {"ids": list(ids)})
        return {row[0]: row[1] for row in rows}

    def plan(self, deployment_id: str) -> bytes:
        """Return a frozen plan; see `contract.Unit.plan`."""
        query = select(schema.plan.c.plan).where(schema.plan.c.deployment_id == deployment_id)
        found: bytes | None = self._connection.execute(query).scalar()
        if found is None:
            raise DeploymentNotFound(deployment_id)
        return found

    def known_keys(self, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the keys that events have; see `contract.Unit.known_keys`."""
        if not keys:
            return set()
        rows = self._connection.execute(self._hot.known_keys, {"keys": [key for _, key in keys]})
        return {(row[0], row[1]) for row in rows} & set(keys)

    def events(self, deployment_id: str) -> list[EventRow]:
        """Return all events; see `contract.Unit.events`."""
        query = SELECT_EVENT.where(_E.c.deployment_id == deployment_id).order_by(_E.c.seq)
        return [EventRow(*row) for row in self._connection.execute(query)]

    def attempts(self, ids: Collection[str]) -> dict[str, AttemptRow]:
        """Return attempts by id; see `contract.Unit.attempts`."""
        if not ids:
            return {}
        rows = self._connection.execute(self._hot.attempts, {"ids": list(ids)})
        return {row[0]: AttemptRow(*row) for row in rows}

    def find_deployment(self, *, idempotency_key: str = "", request_digest: str = "") -> str | None:
        """Return the id of an earlier deployment; see `contract.Unit.find_deployment`."""
        if not idempotency_key and not request_digest:
            return None
        self._serialise(idempotency_key or request_digest)
        is_it = (
            _D.c.idempotency_key == idempotency_key
            if idempotency_key
            else _D.c.request_digest == request_digest
        )
        found: str | None = self._connection.execute(select(_D.c.id).where(is_it).limit(1)).scalar()
        return found

    def playbook(self, playbook_id: str) -> PlaybookRow | None:
        """Return the newest version of a playbook; see `contract.Unit.playbook`."""
        self._serialise(playbook_id)
        table = schema.playbook
        query = SELECT_PLAYBOOK.where(table.c.id == playbook_id).order_by(table.c.version.desc()).limit(1)
        found = self._connection.execute(query).first()
        return PlaybookRow(*found) if found else None

    def add_playbook(self, row: PlaybookRow) -> None:
        """Store a version of a playbook; see `contract.Unit.add_playbook`."""
        self._connection.execute(insert(schema.playbook), [msgspec.structs.asdict(row)])

    def save(self, changes: Changes, *, is_last: bool = False) -> None:
        """Write everything; see `contract.Unit.save`."""
        self._create(changes)
        hot, connection = self._hot, self._connection
        if hot.save.run(connection, changes.saved) != len(changes.saved):
            ids = ", ".join(row.id for row in changes.saved[:3])
            raise StaleVersion(f"deployment {ids} was changed by another core meanwhile")
        if hot.add_events.run(connection, changes.events) != len(changes.events):
            raise StaleVersion("an event of these is known already")
        hot.put_attempts.run(connection, changes.attempts)
        hot.put_timers.run(connection, changes.timers_set)
        hot.remove_timers.run_tuples(connection, changes.timers_removed)
        hot.add_outbox.run(connection, changes.outbox_added)
        hot.remove_outbox.run_tuples(connection, [(one,) for one in changes.outbox_removed])
        self._release(changes)

    def _create(self, changes: Changes) -> None:
        created = changes.created
        self._insert(_D, [row for row, _ in created])
        self._many(insert(schema.plan), [{"deployment_id": row.id, "plan": text} for row, text in created])
        self._insert(schema.source, changes.sources)

    def _release(self, changes: Changes) -> None:
        released = [{"row_id": one, "not_before": at} for one, at in changes.outbox_released]
        self._many(_RELEASE_OUTBOX, released)

    def _insert(self, table: Table, rows: Sequence[msgspec.Struct]) -> None:
        self._many(insert(table), [msgspec.structs.asdict(row) for row in rows])

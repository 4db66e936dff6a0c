"""One writing transaction: locked reads, and each table written once for the whole batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Table,
    Text,
    and_,
    bindparam,
    func,
    insert,
    select,
    update,
)

from reworker.errors import DeploymentNotFound, StaleVersion
from reworker.storage import schema
from reworker.storage.contract import (
    AttemptRow,
    Changes,
    DeploymentRow,
    EventRow,
    OutboxRow,
    PlaybookRow,
    TimerRow,
)
from reworker.storage.hot import IS_FREE, hot_of
from reworker.storage.housekeeping import Housekeeping
from reworker.storage.locks import LockTable
from reworker.storage.reading import (
    SELECT_EVENT,
    SELECT_PLAYBOOK,
    select_rows,
)

_D, _O, _T, _A, _E = schema.deployment, schema.outbox, schema.timer, schema.attempt, schema.event

SELECT_OUTBOX = select_rows(_O, OutboxRow)
SELECT_TIMER = select_rows(_T, TimerRow)

_RELEASE_OUTBOX = (
    update(_O)
    .where(_O.c.id == bindparam("row_id"))
    .values(claimed_by=None, claim_until=bindparam("not_before"))
)
_WAITING = (
    SELECT_OUTBOX.where(IS_FREE)
    .order_by(_O.c.created_at, _O.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
DUE = SELECT_TIMER.where(_T.c.due_at <= bindparam("now")).order_by(_T.c.due_at).limit(bindparam("count"))
_MOVE_CLAIM = update(_O).where(_O.c.id == bindparam("row_id")).values(claim_until=bindparam("until"))
#: name of the row that holds by how many seconds times were moved after jumps of the clock.
SHIFT_NAME = "clock_shift_s"
_SHIFTED = select(schema.meta.c.value).where(schema.meta.c.name == SHIFT_NAME)
_NOTE_SHIFT = (
    update(schema.meta).where(schema.meta.c.name == SHIFT_NAME).values(value=bindparam("value", type_=Text))
)
_NEXT_DUE = select(func.min(_T.c.due_at))


class SqlUnit(LockTable, Housekeeping):
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

    def save(self, changes: Changes) -> None:
        """Write everything; see `contract.Unit.save`."""
        created, hot, connection = changes.created, self._hot, self._connection
        self._insert(_D, [row for row, _ in created])
        self._many(insert(schema.plan), [{"deployment_id": row.id, "plan": text} for row, text in created])
        self._insert(schema.source, changes.sources)
        if hot.save.run(connection, changes.saved) != len(changes.saved):
            ids = ", ".join(row.id for row in changes.saved[:3])
            raise StaleVersion(f"deployment {ids} was changed by another core meanwhile")
        hot.add_events.run(connection, changes.events)
        hot.put_attempts.run(connection, changes.attempts)
        hot.put_timers.run(connection, changes.timers_set)
        hot.remove_timers.run_tuples(connection, changes.timers_removed)
        hot.add_outbox.run(connection, changes.outbox_added)
        hot.remove_outbox.run_tuples(connection, [(one,) for one in changes.outbox_removed])
        released = [{"row_id": one, "not_before": at} for one, at in changes.outbox_released]
        self._many(_RELEASE_OUTBOX, released)

    def waiting_outbox(self, now: datetime, limit: int) -> list[OutboxRow]:
        """Return rows to publish; see `contract.Unit.waiting_outbox`."""
        rows = self._connection.execute(_WAITING, {"now": now, "count": limit})
        return [OutboxRow(*row) for row in rows]

    def claim_outbox(self, ids: Collection[str], owner: str, now: datetime, until: datetime) -> set[str]:
        """Claim rows; see `contract.Unit.claim_outbox`."""
        if not ids:
            return set()
        values = {"ids": list(ids), "owner": owner, "now": now, "until": until}
        return {row[0] for row in self._connection.execute(self._hot.claim, values)}

    def release_claims(self, owner: str) -> None:
        """Free claims of a former life; see `contract.Unit.release_claims`."""
        query = update(_O).where(and_(_O.c.claimed_by == owner, _O.c.is_idempotent))
        self._connection.execute(query.values(claimed_by=None, claim_until=None))

    def due_timers(self, now: datetime, limit: int) -> list[TimerRow]:
        """Return timers that are due; see `contract.Unit.due_timers`."""
        return [TimerRow(*row) for row in self._connection.execute(DUE, {"now": now, "count": limit})]

    def next_timer_at(self) -> datetime | None:
        """Return when the next timer is due; see `contract.Unit.next_timer_at`."""
        found: datetime | None = self._connection.execute(_NEXT_DUE).scalar()
        return found

    def shift_times(self, by: timedelta) -> None:
        """Move timers and claims; see `contract.Unit.shift_times`."""
        timers = [TimerRow(*row) for row in self._connection.execute(SELECT_TIMER)]
        later = [msgspec.structs.replace(row, due_at=row.due_at + by) for row in timers]
        self._hot.put_timers.run(self._connection, later)
        claims = select(_O.c.id, _O.c.claim_until).where(_O.c.claim_until.is_not(None))
        moved = [{"row_id": row[0], "until": row[1] + by} for row in self._connection.execute(claims)]
        self._many(_MOVE_CLAIM, moved)

    def _serialise(self, what: str) -> None:
        """Let no other transaction past this point for the same thing until ours ends; SQLite does not."""

    def shifted_s(self) -> float:
        """Return by how much times were moved ever; see `contract.Unit.shifted_s`."""
        self._serialise(SHIFT_NAME)
        found: str | None = self._connection.execute(_SHIFTED).scalar()
        return float(found or 0)

    def note_shift(self, total_s: float) -> None:
        """Note by how much times were moved ever; see `contract.Unit.note_shift`."""
        values = {"value": str(total_s)}
        if self._connection.execute(_NOTE_SHIFT, values).rowcount == 0:
            self._connection.execute(insert(schema.meta), [{"name": SHIFT_NAME, **values}])

    def _insert(self, table: Table, rows: Sequence[msgspec.Struct]) -> None:
        self._many(insert(table), [msgspec.structs.asdict(row) for row in rows])

    def _many(self, statement: Any, values: list[dict[str, Any]]) -> None:
        if values:
            self._connection.execute(statement, values)

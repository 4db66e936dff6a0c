"""The part of a writing transaction that knows what waits for its moment: messages and timers."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Text, and_, bindparam, func, insert, select, update

from reworker.storage import schema, task_schema
from reworker.storage.contract import OutboxRow, TimerRow
from reworker.storage.hot import IS_FREE, Hot
from reworker.storage.reading import select_rows

_O, _T, _K = schema.outbox, schema.timer, task_schema.task

SELECT_OUTBOX = select_rows(_O, OutboxRow)
SELECT_TIMER = select_rows(_T, TimerRow)

_WAITING = (
    SELECT_OUTBOX.where(IS_FREE)
    .order_by(_O.c.created_at, _O.c.id)
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
DUE = SELECT_TIMER.where(_T.c.due_at <= bindparam("now")).order_by(_T.c.due_at).limit(bindparam("count"))
_MOVE_CLAIM = update(_O).where(_O.c.id == bindparam("row_id")).values(claim_until=bindparam("until"))
_WAITING_TASKS = select(_K.c.id, _K.c.due_at).where(_K.c.phase == "waiting")
_MOVE_TASK = update(_K).where(_K.c.id == bindparam("row_id")).values(due_at=bindparam("due"))
#: name of the row that holds by how many seconds times were moved after jumps of the clock.
SHIFT_NAME = "clock_shift_s"
_SHIFTED = select(schema.meta.c.value).where(schema.meta.c.name == SHIFT_NAME)
_NOTE_SHIFT = (
    update(schema.meta).where(schema.meta.c.name == SHIFT_NAME).values(value=bindparam("value", type_=Text))
)
_NEXT_DUE = select(func.min(_T.c.due_at))


class QueueTables:
    """Messages for the broker, and timers; see `contract.Queues`."""

    _connection: Connection
    _hot: Hot

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
        """Move timers, claims and delays of tasks; see `contract.Unit.shift_times`."""
        timers = [TimerRow(*row) for row in self._connection.execute(SELECT_TIMER)]
        later = [msgspec.structs.replace(row, due_at=row.due_at + by) for row in timers]
        self._hot.put_timers.run(self._connection, later)
        claims = select(_O.c.id, _O.c.claim_until).where(_O.c.claim_until.is_not(None))
        moved = [{"row_id": row[0], "until": row[1] + by} for row in self._connection.execute(claims)]
        self._many(_MOVE_CLAIM, moved)
        tasks = self._connection.execute(_WAITING_TASKS)
        self._many(_MOVE_TASK, [{"row_id": row[0], "due": row[1] + by} for row in tasks])

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

    def _many(self, statement: Any, values: list[dict[str, Any]]) -> None:
        if values:
            self._connection.execute(statement, values)

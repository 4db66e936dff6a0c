"""One writing transaction on PostgreSQL, beside those of other cores.

Every transaction locks in this order, so that no two wait for each other: deployments by id, then what
`_serialise` names, then the rows that it writes. Rows of the outbox, and deployments with a timer that is
due, are never waited for: another core has them in hand.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from datetime import datetime, timedelta

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Integer, Text, bindparam, func, literal, select, text

from reworker.storage import schema
from reworker.storage.contract import Changes, OutboxRow, TimerRow
from reworker.storage.queues import DUE
from reworker.storage.together import write
from reworker.storage.writing import SqlUnit

#: first half of the key of all advisory locks of this program; any number, as long as it stays.
ADVISORY_CLASS = 1919252335

_D, _T = schema.deployment, schema.timer
_SERIALISE = select(
    func.pg_advisory_xact_lock(literal(ADVISORY_CLASS, Integer), bindparam("key", type_=Integer))
)
_DUE_IDS = (
    select(_T.c.deployment_id)
    .where(_T.c.due_at <= bindparam("now"))
    .order_by(_T.c.due_at)
    .limit(bindparam("count"))
)
_TAKE_DUE = select(_D.c.id).where(_D.c.id.in_(_DUE_IDS)).with_for_update(key_share=True, skip_locked=True)
_DUE_OF = DUE.where(_T.c.deployment_id.in_(bindparam("ids", expanding=True)))
_L, _W = schema.lock, schema.lock_wait
_KEEPS = tuple(
    select(table.c.name)
    .where(table.c.deployment_id == bindparam("own"))
    .order_by(table.c.name)
    .with_for_update()
    for table in (_L, _W)
)
_NEXT_NUMBER = select(func.nextval(bindparam("counter", type_=Text)))
_SHIFTS = (
    text("UPDATE timer SET due_at = due_at + :by"),
    text("UPDATE outbox SET claim_until = claim_until + :by WHERE claim_until IS NOT NULL"),
    text("UPDATE task SET due_at = due_at + :by WHERE phase = 'waiting'"),
)


class PostgresUnit(SqlUnit):
    """One writing transaction; see `contract.Unit`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._last: Changes | None = None

    def save(self, changes: Changes, *, is_last: bool = False) -> None:
        """Write everything, with one statement for the most part; see `contract.Unit.save`."""
        if changes.created or changes.sources:
            self._create(changes)
        self._last = changes
        if not is_last or changes.outbox_released:
            self._write_last()
            self._release(changes)

    def finish(self) -> None:
        """Write what was left to the end of the transaction, for which `save` was told so.

        If it is all of the transaction, statement and COMMIT are one message: the server commits a statement
        by itself that no BEGIN went before.
        """
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        if self._last is None or driver.info.transaction_status is not TransactionStatus.IDLE:
            self._write_last()
            return
        driver.autocommit = True
        try:
            self._write_last()
        finally:
            if not driver.closed:
                driver.autocommit = False

    def _write_last(self) -> None:
        changes, self._last = self._last, None
        if changes is not None:
            write(self._connection, changes)

    def waiting_outbox(self, now: datetime, limit: int) -> list[OutboxRow]:
        """Return rows to publish; see `contract.Unit.waiting_outbox`."""
        self._write_last()
        return super().waiting_outbox(now, limit)

    def claim_outbox(self, ids: Collection[str], owner: str, now: datetime, until: datetime) -> set[str]:
        """Claim rows; see `contract.Unit.claim_outbox`."""
        if not ids:
            return set()
        self._write_last()
        return super().claim_outbox(ids, owner, now, until)

    def due_timers(self, now: datetime, limit: int) -> list[TimerRow]:
        """Return timers that are due and whose deployments nobody changes; see `contract.Unit.due_timers`.

        The timers are read after their deployments are locked: until then another core may restart them.
        """
        values = {"now": now, "count": limit}
        ids = [row[0] for row in self._connection.execute(_TAKE_DUE, values)]
        if not ids:
            return []
        return [TimerRow(*row) for row in self._connection.execute(_DUE_OF, {**values, "ids": ids})]

    def shift_times(self, by: timedelta) -> None:
        """Move timers, claims and delays of tasks; see `contract.Unit.shift_times`."""
        for statement in _SHIFTS:
            self._connection.execute(statement, {"by": by})

    def _keep_rows(self, deployment_id: str) -> None:
        for statement in _KEEPS:
            self._connection.execute(statement, {"own": deployment_id})

    def _next_number(self, counter: str) -> int:
        """Return a number of the sequence: a row would make all cores wait for each other's commits."""
        number: int = self._connection.execute(_NEXT_NUMBER, {"counter": counter}).scalar_one()
        return number

    def _serialise(self, what: str) -> None:
        self._connection.execute(_SERIALISE, {"key": advisory_key(what)})


def advisory_key(what: str) -> int:
    """Return the second half of an advisory lock's key; two things with one key only wait for each other."""
    return zlib.crc32(what.encode("utf-8", "surrogatepass")) - 2**31

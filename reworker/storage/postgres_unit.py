"""One writing transaction on PostgreSQL, beside those of other cores.

Every transaction locks in this order, so that no two wait for each other: deployments by id, then what
`_serialise` names, then the rows that it writes. Rows of the outbox, and deployments with a timer that is
due, are never waited for: another core has them in hand.
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta

from sqlalchemy import Integer, Text, bindparam, func, literal, select, text

from reworker.storage import schema
from reworker.storage.contract import TimerRow
from reworker.storage.queues import DUE
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
)


class PostgresUnit(SqlUnit):
    """One writing transaction; see `contract.Unit`."""

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
        """Move timers and claims; see `contract.Unit.shift_times`."""
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

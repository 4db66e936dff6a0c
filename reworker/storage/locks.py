"""Locks: names that one deployment holds at a time, taken all at once, first come, first served.

A deployment first takes a place in line for each name; when it is first everywhere and nobody holds any of
the names, its places become locks. The tables `lock` and `lock_wait` are touched here and nowhere else.

On a server several transactions do this at once, and none may overlook another. So who waits locks the row
that it waits for, and who leaves locks its own rows before it looks who comes next: one of the two is first,
and the other sees what it did.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    union,
    update,
)

from reworker.storage import schema
from reworker.storage.contract import LockResult
from reworker.storage.upserts import insert_into

#: names of the two counters, of places in line and of holders: rows of `meta`, or sequences of a server.
TICKET, FENCE = "lock_ticket", "lock_fence"

_L, _W, _M = schema.lock, schema.lock_wait, schema.meta
_OWN: BindParameter[str] = bindparam("own")
_mine = _W.alias("mine")

_FENCE_HELD = select(_L.c.fence).where(_L.c.deployment_id == _OWN).limit(1)
_PLACES = select(func.count()).select_from(_W).where(_W.c.deployment_id == _OWN)
_LAST_NUMBER = select(cast(_M.c.value, BigInteger)).where(_M.c.name == bindparam("counter"))
_NOTE_NUMBER = update(_M).where(_M.c.name == bindparam("counter")).values(value=bindparam("number"))
_HOLDER = (
    select(_L.c.name, _L.c.deployment_id)
    .join(_mine, _mine.c.name == _L.c.name)
    .where(_mine.c.deployment_id == _OWN)
    .order_by(_L.c.name)
    .limit(1)
    .with_for_update(read=True, of=_L)
)
_EARLIER = (
    select(_W.c.name, _W.c.deployment_id)
    .join(_mine, (_mine.c.name == _W.c.name) & (_mine.c.ticket > _W.c.ticket))
    .where(_mine.c.deployment_id == _OWN)
    .order_by(_W.c.ticket, _W.c.name)
    .limit(1)
    .with_for_update(read=True, of=_W)
)
_PLACES_TO_LOCKS = (
    select(
        _W.c.name,
        _W.c.deployment_id,
        literal_column("0"),
        bindparam("now", type_=schema.UtcDateTime()),
    )
    .where(_W.c.deployment_id == _OWN)
    .order_by(_W.c.name)  # all take names in one order, so that no two wait for each other
)
_COLUMNS = ("name", "deployment_id", "fence", "at")
_SET_FENCE = update(_L).where(_L.c.deployment_id == _OWN).values(fence=bindparam("number"))
_LEAVE = delete(_W).where(_W.c.deployment_id == _OWN)
_RELEASE = delete(_L).where(_L.c.deployment_id == _OWN)
_given_up = union(
    select(_L.c.name).where(_L.c.deployment_id == _OWN),
    select(_mine.c.name).where(_mine.c.deployment_id == _OWN),
).subquery()
_firsts = (
    select(_W.c.name, func.min(_W.c.ticket).label("ticket"))
    .where(_W.c.name.in_(select(_given_up.c.name)), _W.c.deployment_id != _OWN)
    .group_by(_W.c.name)
    .subquery()
)
_NEXT = (
    select(_W.c.deployment_id, func.min(_W.c.ticket).label("ticket"))
    .join(_firsts, (_firsts.c.name == _W.c.name) & (_firsts.c.ticket == _W.c.ticket))
    .group_by(_W.c.deployment_id)
    .order_by("ticket")
)


@cache
def _grant(dialect: str) -> Any:
    """Return the statement that gives a deployment all it stands in line for and nobody holds."""
    statement = insert_into(_L, dialect).from_select(_COLUMNS, _PLACES_TO_LOCKS).on_conflict_do_nothing()
    return statement.execution_options(preserve_rowcount=True)


class LockTable:
    """The part of a writing transaction that knows the locks; see `contract.Locks`."""

    _connection: Connection

    def take_locks(self, deployment_id: str, names: Collection[str], now: datetime) -> LockResult:
        """Take all or stand in line; see `contract.Locks.take_locks`."""
        run, own = self._connection.execute, {"own": deployment_id}
        held: int | None = run(_FENCE_HELD, own).scalar()
        if held is not None:
            return LockResult(held)
        count: int = run(_PLACES, own).scalar_one() or self._stand_in_line(deployment_id, set(names))
        while True:
            obstacle = run(_HOLDER, own).first() or run(_EARLIER, own).first()
            if obstacle is not None:
                return LockResult(None, obstacle[0], obstacle[1])
            if run(_grant(self._connection.dialect.name), {**own, "now": now}).rowcount == count:
                break
            # Another one was faster at one of the names.
            run(_RELEASE, own)
        run(_LEAVE, own)
        # Drawn when all names are ours, so that whoever had one before has a smaller number.
        fence = self._next_number(FENCE)
        run(_SET_FENCE, {**own, "number": fence})
        return LockResult(fence)

    def drop_locks(self, deployment_id: str) -> list[str]:
        """Give up locks and places; see `contract.Locks.drop_locks`."""
        run, own = self._connection.execute, {"own": deployment_id}
        self._keep_rows(deployment_id)
        firsts = [row[0] for row in run(_NEXT, own)]
        run(_RELEASE, own)
        run(_LEAVE, own)
        return firsts

    def _stand_in_line(self, deployment_id: str, names: Collection[str]) -> int:
        ticket = self._next_number(TICKET)
        places = [{"name": one, "deployment_id": deployment_id, "ticket": ticket} for one in sorted(names)]
        if places:
            self._connection.execute(insert(_W), places)
        return len(places)

    def _keep_rows(self, deployment_id: str) -> None:
        """Let nobody wait for a deployment's locks and places any more, until our end; SQLite does not."""

    def _next_number(self, counter: str) -> int:
        last: int | None = self._connection.execute(_LAST_NUMBER, {"counter": counter}).scalar()
        number = (last or 0) + 1
        if last is None:
            self._connection.execute(insert(_M), [{"name": counter, "value": str(number)}])
        else:
            self._connection.execute(_NOTE_NUMBER, {"counter": counter, "number": str(number)})
        return number

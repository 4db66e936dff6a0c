"""Locks: names that one deployment holds at a time, taken all at once, first come, first served.

A deployment first takes a place in line for each name; when it is first everywhere and nobody holds any of
the names, its places become locks. The number of its places is also their fence: whoever gets a name later
came later, so its number is greater. The tables `lock` and `lock_wait` are touched here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    union,
    update,
)

from reworker.storage import schema
from reworker.storage.contract import LockResult

#: name of the row that holds the last number given out.
NUMBER_NAME = "lock_number"
#: under it locks are taken and dropped, one transaction after the other: else a deployment that takes its
#: place in line while another leaves might be overlooked by that one, and wait for ever.
LOCKS = "locks"

_L, _W, _M = schema.lock, schema.lock_wait, schema.meta
_OWN: BindParameter[str] = bindparam("own")
_mine = _W.alias("mine")

_FENCE_HELD = select(_L.c.fence).where(_L.c.deployment_id == _OWN).limit(1)
_TICKET = select(_W.c.ticket).where(_W.c.deployment_id == _OWN).limit(1)
_LAST_NUMBER = select(cast(_M.c.value, BigInteger)).where(_M.c.name == NUMBER_NAME)
_NOTE_NUMBER = update(_M).where(_M.c.name == NUMBER_NAME).values(value=bindparam("number"))
_HOLDER = (
    select(_L.c.name, _L.c.deployment_id)
    .join(_mine, _mine.c.name == _L.c.name)
    .where(_mine.c.deployment_id == _OWN)
    .order_by(_L.c.name)
    .limit(1)
)
_EARLIER = (
    select(_W.c.name, _W.c.deployment_id)
    .join(_mine, (_mine.c.name == _W.c.name) & (_mine.c.ticket > _W.c.ticket))
    .where(_mine.c.deployment_id == _OWN)
    .order_by(_W.c.ticket, _W.c.name)
    .limit(1)
)
_GRANT = insert(_L).from_select(
    ["name", "deployment_id", "fence", "at"],
    select(_W.c.name, _W.c.deployment_id, _W.c.ticket, bindparam("now", type_=schema.UtcDateTime())).where(
        _W.c.deployment_id == _OWN
    ),
)
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


class LockTable:
    """The part of a writing transaction that knows the locks; see `contract.Locks`."""

    _connection: Connection

    def take_locks(self, deployment_id: str, names: Collection[str], now: datetime) -> LockResult:
        """Take all or stand in line; see `contract.Locks.take_locks`."""
        run, own = self._connection.execute, {"own": deployment_id}
        self._serialise(LOCKS)
        held: int | None = run(_FENCE_HELD, own).scalar()
        if held is not None:
            return LockResult(held)
        ticket: int | None = run(_TICKET, own).scalar()
        if ticket is None:
            ticket = self._next_number()
            places = [
                {"name": name, "deployment_id": deployment_id, "ticket": ticket}
                for name in sorted(set(names))
            ]
            if places:
                run(insert(_W), places)
        obstacle = run(_HOLDER, own).first() or run(_EARLIER, own).first()
        if obstacle is not None:
            return LockResult(None, obstacle[0], obstacle[1])
        run(_GRANT, {**own, "now": now})
        run(_LEAVE, own)
        return LockResult(ticket)

    def drop_locks(self, deployment_id: str) -> list[str]:
        """Give up locks and places; see `contract.Locks.drop_locks`."""
        run, own = self._connection.execute, {"own": deployment_id}
        self._serialise(LOCKS)
        firsts = [row[0] for row in run(_NEXT, own)]
        run(_RELEASE, own)
        run(_LEAVE, own)
        return firsts

    def _serialise(self, what: str) -> None:
        """Let no other transaction past this point for the same thing until ours ends; SQLite does not."""

    def _next_number(self) -> int:
        last: int | None = self._connection.execute(_LAST_NUMBER).scalar()
        number = (last or 0) + 1
        if last is None:
            self._connection.execute(insert(_M), [{"name": NUMBER_NAME, "value": str(number)}])
        else:
            self._connection.execute(_NOTE_NUMBER, {"number": str(number)})
        return number

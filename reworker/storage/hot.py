"""The statements of every batch, for each kind of database."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Column, Table, bindparam, delete, literal_column, or_, select, update
from sqlalchemy.sql import ClauseElement

from reworker.storage import schema
from reworker.storage.finding import SELECT_DEPLOYMENT
from reworker.storage.reading import SELECT_ATTEMPT
from reworker.storage.rowwise import RowStatement, Source

if TYPE_CHECKING:
    from reworker.storage.setwise import SetStatement

_D, _O, _E, _A, _T = schema.deployment, schema.outbox, schema.event, schema.attempt, schema.timer
#: of a deployment, what an event can change; after what it is found by.
_SAVED = ("id", "version", "status", "snapshot", "last_seq", "last_hash", "updated_at", "ended_at")

IS_FREE = or_(_O.c.claim_until.is_(None), _O.c.claim_until <= bindparam("now"))

Kind: TypeAlias = "type[RowStatement] | type[SetStatement]"
Statement: TypeAlias = "RowStatement | SetStatement"


class Hot:
    """What every batch reads and writes, made once per kind of statement.

    Those that read take a list as one parameter: else text and plan are made anew for each length of it.
    """

    def __init__(self, kind: Kind) -> None:
        self.save = kind([_D.c[name] for name in _SAVED], _save)
        self.add_events = _inserting(kind, _E, is_lenient=True)
        self.put_attempts = _putting(kind, _A)
        self.put_timers = _putting(kind, _T)
        self.remove_timers = _removing(kind, _T)
        self.add_outbox = _inserting(kind, _O)
        self.remove_outbox = _removing(kind, _O)
        # SQLite has one writer and knows no FOR UPDATE: the library leaves it out there.
        self.deployments = (
            SELECT_DEPLOYMENT.where(kind.is_any(_D.c.id, "ids"))
            .order_by(_D.c.id)
            .with_for_update(key_share=True)
        )
        self.versions = (
            select(_D.c.id, _D.c.version)
            .where(kind.is_any(_D.c.id, "ids"))
            .order_by(_D.c.id)
            .with_for_update(key_share=True)
        )
        self.attempts = SELECT_ATTEMPT.where(kind.is_any(_A.c.id, "ids"))
        self.known_keys = select(_E.c.deployment_id, _E.c.dedup_key).where(
            kind.is_any(_E.c.dedup_key, "keys")
        )
        # Rows that another core is claiming, or deleting, are passed over: to wait could be a deadlock.
        free = select(_O.c.id).where(kind.is_any(_O.c.id, "ids"), IS_FREE).with_for_update(skip_locked=True)
        self.claim = (
            update(_O)
            .where(kind.is_in(_O.c.id, free))
            .values(claimed_by=bindparam("owner"), claim_until=bindparam("until"))
            .returning(_O.c.id)
        )


@cache
def hot_of(dialect: str) -> Hot:
    """Return the statements for a dialect by its name."""
    if dialect == "sqlite":
        return Hot(RowStatement)
    from reworker.storage.setwise import SetStatement  # not above: it loads all of the other dialect

    return Hot(SetStatement)


def _save(row: Source) -> ClauseElement:
    values = {name: row[name] for name in _SAVED[1:]}
    is_next = _D.c.version + literal_column("1") == row["version"]
    return update(_D).where(_D.c.id == row["id"], is_next).values(values)


def _inserting(kind: Kind, table: Table, *, is_lenient: bool = False) -> Statement:
    """Insert rows; if lenient, pass over those whose keys are there already, and do not count them."""

    def make(row: Source) -> ClauseElement:
        statement = kind.insert(table, row)
        return statement.on_conflict_do_nothing() if is_lenient else statement

    return kind(table.columns, make)


def _putting(kind: Kind, table: Table) -> Statement:
    """Insert rows, or change those that are there."""

    def make(row: Source) -> ClauseElement:
        statement = kind.insert(table, row)
        changed = {one.name: statement.excluded[one.name] for one in table.columns if not one.primary_key}
        return statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)

    return kind(table.columns, make)


def _removing(kind: Kind, table: Table) -> Statement:
    keys: list[Column[Any]] = list(table.primary_key)
    return kind(keys, lambda row: delete(table).where(*(one == row[one.name] for one in keys)))

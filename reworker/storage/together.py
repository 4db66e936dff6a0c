"""What a batch writes on a server, as one statement: one message, one plan, one answer.

Each statement of the hot path becomes a part of it. Those that must meet every row are counted by the
server, which refuses the whole when a count is wrong: nobody has to look before the COMMIT.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from reworker.errors import StaleVersion
from reworker.storage.contract import Changes
from reworker.storage.hot import hot_of
from reworker.storage.setwise import SetStatement

#: what the server says when a row is not met; also in its own log.
_STALE, _KNOWN = "another transaction was faster", "an event of these is known already"
#: field of the changes, statement for its rows, and what it means when it does not meet every row.
_PARTS = (
    ("saved", "save", _STALE),
    ("events", "add_events", _KNOWN),
    ("attempts", "put_attempts", ""),
    ("timers_set", "put_timers", ""),
    ("timers_removed", "remove_timers", ""),
    ("outbox_added", "add_outbox", ""),
    ("outbox_removed", "remove_outbox", ""),
)


def write(connection: Connection, changes: Changes) -> None:
    """Write what every batch writes; the rest of the changes is not looked at.

    Raises:
        StaleVersion: a deployment is not of the version before, or an event is known already.
    """
    changes = _apart(changes)
    names = tuple(field for field, _, _ in _PARTS if getattr(changes, field))
    if not names:
        return
    try:
        connection.exec_driver_sql(_text(names), _parameters(names, changes))
    except DBAPIError as error:
        said = str(error.orig)
        if _KNOWN in said:
            raise StaleVersion(_KNOWN) from error
        if _STALE in said:
            ids = ", ".join(row.id for row in changes.saved[:3])
            raise StaleVersion(f"deployment {ids} was changed by another core meanwhile") from error
        raise


def _apart(changes: Changes) -> Changes:
    """Leave out rows that are added and removed: parts of one statement do not see each other's rows."""
    gone, stopped = set(changes.outbox_removed), set(changes.timers_removed)
    added = [row for row in changes.outbox_added if row.id not in gone]
    timers = [row for row in changes.timers_set if (row.deployment_id, row.kind, row.attempt) not in stopped]
    return msgspec.structs.replace(changes, outbox_added=added, timers_set=timers)


def _parameters(names: tuple[str, ...], changes: Changes) -> tuple[str | int, ...]:
    parameters: list[str | int] = []
    for field, statement, _ in _PARTS:
        if field in names:
            rows = getattr(changes, field)
            if field == "outbox_removed":
                rows = [(one,) for one in rows]
            parameters.append(_statement(statement).encoded(rows))
    counted = (len(getattr(changes, field)) for field, _, reason in _PARTS if reason and field in names)
    return (*parameters, *counted)


@lru_cache(maxsize=256)
def _text(names: tuple[str, ...]) -> str:
    parts, checks = [], []
    for field, statement, reason in _PARTS:
        if field not in names:
            continue
        parts.append(f"{field} AS ({_statement(statement).text}{' RETURNING 1' if reason else ''})")
        if reason:
            # A text that is no number: the server says it in its error. As a constant it would do so always.
            counted = f"(SELECT count(*) FROM {field}) = %s"
            checks.append(f"(CASE WHEN {counted} THEN '0' ELSE '{reason}' END)::integer")
    return f"WITH {', '.join(parts)} SELECT {', '.join(checks) or '0'}"


def _statement(name: str) -> SetStatement:
    found = getattr(hot_of("postgresql"), name)
    assert isinstance(found, SetStatement)
    return found

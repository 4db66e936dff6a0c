"""What keeps a database tidy: cores say that they are alive, and deployments that ended long ago go."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from reworker.storage import schema, task_schema
from reworker.storage.contract import InstanceRow
from reworker.storage.reading import SETTING_PREFIX
from reworker.storage.upserts import insert_into

_D, _O, _K = schema.deployment, schema.outbox, task_schema.task
#: deployments looked at in one go, of which those are deleted whose events fit.
CANDIDATE_COUNT = 500
#: tables with rows of a deployment, those first that refer to others.
_TABLES = (
    *((table, table.c.deployment_id) for table in (schema.event, schema.attempt, schema.timer)),
    *((table, table.c.deployment_id) for table in (schema.source, schema.plan)),
    (_D, _D.c.id),
    (task_schema.task_payload, task_schema.task_payload.c.task_id),
    (_K, _K.c.id),
)
_DELETES = tuple(
    delete(table).where(column.in_(bindparam("ids", expanding=True))) for table, column in _TABLES
)
_ENDED = (
    select(_D.c.id, _D.c.last_seq)
    .where(
        _D.c.ended_at < bindparam("ended_before"),
        _D.c.id.not_in(select(_O.c.deployment_id).where(_O.c.deployment_id.is_not(None))),
        # What became of a task has to be written down first.
        _D.c.id.not_in(select(_K.c.id).where(_K.c.phase == "active")),
    )
    .order_by(_D.c.ended_at)
    .limit(CANDIDATE_COUNT)
)
_FREE = (
    select(_D.c.id)
    .where(_D.c.id.in_(bindparam("ids", expanding=True)), _D.c.ended_at.is_not(None))
    .with_for_update(skip_locked=True)
)


@cache
def _save_setting(dialect: str) -> Any:
    """Return the statement that saves a setting; cores that start together may save the same one."""
    statement = insert_into(schema.meta, dialect)
    return statement.on_conflict_do_update(index_elements=["name"], set_={"value": statement.excluded.value})


class Housekeeping:
    """The part of a writing transaction that keeps the database tidy; see `contract.Unit`."""

    _connection: Connection

    def beat(self, row: InstanceRow) -> None:
        """Note that a core is alive; see `contract.Unit.beat`."""
        values = msgspec.structs.asdict(row)
        is_it = schema.instance.c.name == row.name
        if self._connection.execute(update(schema.instance).where(is_it).values(values)).rowcount == 0:
            self._connection.execute(insert(schema.instance), [values])

    def save_setting(self, name: str, value: bytes) -> None:
        """Keep a setting of the database; see `contract.Unit.save_setting`."""
        values = {"name": f"{SETTING_PREFIX}{name}", "value": value.decode("utf-8")}
        self._connection.execute(_save_setting(self._connection.dialect.name), values)

    def ended(self, before: datetime, event_count: int) -> list[str]:
        """Return deployments that may go; see `contract.Unit.ended`."""
        chosen: list[str] = []
        for own_id, count in self._connection.execute(_ENDED, {"ended_before": before}):
            event_count -= count
            if event_count < 0 and chosen:
                break
            chosen.append(own_id)
        return chosen

    def prune(self, ids: Collection[str]) -> list[str]:
        """Delete deployments; see `contract.Unit.prune`."""
        free = [row[0] for row in self._connection.execute(_FREE, {"ids": list(ids)})]
        if free:
            for statement in _DELETES:
                self._connection.execute(statement, {"ids": free})
        return free

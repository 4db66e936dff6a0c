"""What is read of deployments, from the database and the lines of output, and the forms it is shown in."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec

from reworker.core import codec
from reworker.core.recorder import LogLine, lines_of
from reworker.fsm.deployment import Deployment
from reworker.fsm.plan import Plan
from reworker.storage.contract import (
    ALL_DEPLOYMENTS,
    AttemptRow,
    DeploymentFilter,
    DeploymentRow,
    LogStore,
    Storage,
)

#: rows that one call returns at most.
PAGE_COUNT = 1000


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment: its row, and its state as the machine knows it."""

    row: DeploymentRow
    state: Deployment

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more will happen to it."""
        return self.state.status.is_terminal


class EventView(msgspec.Struct, frozen=True):
    """An event; `data` holds its fields, `ignored` says why it changed nothing."""

    seq: int
    kind: str
    at: datetime
    actor: str
    data: dict[str, Any]
    ignored: str | None


class AttemptView(msgspec.Struct, frozen=True):
    """An attempt: its row, and the data that its worker sent."""

    row: AttemptRow
    data: Any


class Reads:
    """Reads; any thread, any process.

    Args:
        storage: the database.
        logs: the lines of output.
    """

    def __init__(self, storage: Storage, logs: LogStore) -> None:
        self._storage, self._logs = storage, logs
        #: reads beside all this, for `history`.
        self.reader = storage.reader

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Return a deployment as it stands.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return view_of(self._storage.reader.deployment(deployment_id))

    def deployments(
        self,
        *,
        limit: int = 50,
        before_id: str = "",
        status: str = "",
        wanted: DeploymentFilter = ALL_DEPLOYMENTS,
    ) -> list[DeploymentView]:
        """Return deployments that are wanted, newest first; `before_id` is the last id of the page before."""
        count = min(max(limit, 1), PAGE_COUNT)
        rows = self._storage.reader.deployments(
            limit=count, before_id=before_id, status=status, wanted=wanted
        )
        return [view_of(row) for row in rows]

    def plan(self, deployment_id: str) -> Plan:
        """Return the plan a deployment was started with.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        return codec.decode_plan(self._storage.reader.plan(deployment_id))

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = PAGE_COUNT) -> list[EventView]:
        """Return what happened, in order, after a sequence number."""
        rows = self._storage.reader.events(deployment_id, after_seq=after_seq, limit=limit)
        return [
            EventView(row.seq, row.kind, row.at, row.actor, msgspec.json.decode(row.data), row.ignored)
            for row in rows
        ]

    def attempts(
        self, deployment_id: str, *, after_number: int = 0, limit: int = PAGE_COUNT
    ) -> list[AttemptView]:
        """Return attempts in order, after a number."""
        rows = self._storage.reader.attempts(deployment_id, after_number=after_number, limit=limit)
        return [AttemptView(row, msgspec.json.decode(row.data)) for row in rows]

    def log_lines(
        self, deployment_id: str, *, after_no: int = 0, limit: int = PAGE_COUNT, is_tail: bool = False
    ) -> list[LogLine]:
        """Return lines of output, after a line's number; `is_tail` gives the last ones instead.

        They are as the worker sent them: escape control characters before showing them.
        """
        if is_tail:
            last = self._logs.last_lines(deployment_id, limit=limit)
            return [line for row in last for line in lines_of(row)][-limit:]
        rows = self._logs.lines(deployment_id, after_no=after_no, limit=limit)
        return [line for row in rows for line in lines_of(row) if line.no > after_no][:limit]

    def log_heads(self, deployment_ids: Collection[str]) -> dict[str, int]:
        """Return what tells whether there are new lines of output; see `LogStore.heads`."""
        return self._logs.heads(deployment_ids)


def view_of(row: DeploymentRow) -> DeploymentView:
    """Return a deployment as its row has it."""
    return DeploymentView(row, codec.decode_snapshot(row.snapshot))

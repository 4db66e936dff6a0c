"""What a database must do for the core: rows, one writing transaction at a time, and reads beside it.

Rows carry JSON as bytes, which storage neither reads nor changes. All times are aware UTC.
Every method raises `StorageUnavailable` when the database cannot be reached or written at the moment,
and another `StorageError` when it refuses what it was given; in both cases nothing was changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

import msgspec


class PlaybookRow(msgspec.Struct, frozen=True):
    """One version of a stored playbook; `text` is as its author wrote it, `digest` its SHA-256."""

    id: str
    version: int
    group: str
    name: str
    digest: str
    text: str
    actor: str
    created_at: datetime


class DeploymentRow(msgspec.Struct, frozen=True):
    """A deployment: its present snapshot and the head of its event chain.

    Args:
        version: grows by one with each save; a save from an older one is refused.
        snapshot: JSON of the machine's state, of the same size for any plan.
        last_seq: number of its events.
        last_hash: hash of the last event.
        idempotency_key: at most one deployment has it; None is none.
        request_digest: of the job message it came from; None is none.
    """

    id: str
    playbook_id: str | None
    group: str
    name: str
    status: str
    version: int
    snapshot: bytes
    last_seq: int
    last_hash: str
    step_count: int
    actor: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None


class EventRow(msgspec.Struct, frozen=True):
    """Something that happened; `ignored` is the reason why it changed nothing, or None."""

    deployment_id: str
    seq: int
    kind: str
    at: datetime
    actor: str
    data: bytes
    dedup_key: str | None
    ignored: str | None
    hash: str


class AttemptRow(msgspec.Struct, frozen=True):
    """One attempt at a step on a host, as it stands; `id` is its correlation id on the wire."""

    id: str
    deployment_id: str
    number: int
    step_index: int
    step: str
    host: str
    status: str
    tries: int
    worker: str
    message: str
    percent: float | None
    data: bytes
    created_at: datetime
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None


class OutboxRow(msgspec.Struct, frozen=True):
    """A message that has to reach the broker; deleted when it has.

    Args:
        id: the AMQP message id, the same each time it is published.
        kind: step, control, notify or answer.
        attempt: number of the attempt it dispatches; None unless it is a step.
        properties: JSON of its AMQP properties.
        is_idempotent: it may be published twice.
        claimed_by: core that publishes it; None is nobody.
        claim_until: end of that claim; without a claim, the moment before which it has to wait.
    """

    id: str
    deployment_id: str | None
    kind: str
    attempt: int | None
    exchange: str
    routing_key: str
    properties: bytes
    body: bytes
    is_idempotent: bool
    claimed_by: str | None
    claim_until: datetime | None
    created_at: datetime


class TimerRow(msgspec.Struct, frozen=True):
    """A moment at which something becomes an event; one per deployment, kind and attempt."""

    deployment_id: str
    kind: str
    attempt: int
    due_at: datetime


class LogRow(msgspec.Struct, frozen=True):
    """Consecutive lines of one deployment; `lines` is ``[[attempt, at, text], ...]`` as JSON."""

    deployment_id: str
    first_no: int
    line_count: int
    lines: bytes


class Changes(msgspec.Struct):
    """Everything one transaction writes, gathered so that each table is written once."""

    created: list[tuple[DeploymentRow, bytes]] = []
    saved: list[DeploymentRow] = []
    events: list[EventRow] = []
    attempts: list[AttemptRow] = []
    timers_set: list[TimerRow] = []
    timers_removed: list[tuple[str, str, int]] = []
    outbox_added: list[OutboxRow] = []
    outbox_removed: list[str] = []
    outbox_released: list[tuple[str, datetime]] = []


class Unit(Protocol):
    """One writing transaction; it ends with the block that `Storage.begin` opened."""

    def deployments(self, ids: Collection[str]) -> dict[str, DeploymentRow]:
        """Return the rows that exist, locked against other cores until the end of the transaction."""
        ...

    def plan(self, deployment_id: str) -> bytes:
        """Return the frozen plan's JSON.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def known_keys(self, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those (deployment id, dedup key) that an event already has.

        Keys should be almost unique among all deployments: that is what makes this fast.
        """
        ...

    def attempts(self, ids: Collection[str]) -> dict[str, AttemptRow]:
        """Return the attempts that exist, by id."""
        ...

    def find_deployment(self, *, idempotency_key: str = "", request_digest: str = "") -> str | None:
        """Return the id of the deployment that was made with this key or from this request."""
        ...

    def playbook(self, playbook_id: str) -> PlaybookRow | None:
        """Return the newest version of a playbook."""
        ...

    def add_playbook(self, row: PlaybookRow) -> None:
        """Store one version of a playbook."""
        ...

    def save(self, changes: Changes) -> None:
        """Write everything.

        Raises:
            StaleVersion: a deployment's row is not of the version before; nothing may be committed.
        """
        ...

    def waiting_outbox(self, now: datetime, limit: int) -> list[OutboxRow]:
        """Return rows that nobody has claimed, or whose claim or delay has ended, oldest first."""
        ...

    def claim_outbox(self, ids: Collection[str], owner: str, now: datetime, until: datetime) -> set[str]:
        """Claim rows for publishing; return the ids of those that still exist and were free."""
        ...

    def release_claims(self, owner: str) -> None:
        """Free the rows that may be published twice and that a former life of this core has claimed."""
        ...

    def due_timers(self, now: datetime, limit: int) -> list[TimerRow]:
        """Return timers that are due, the longest overdue first."""
        ...

    def next_timer_at(self) -> datetime | None:
        """Return when the next timer is due, or None without timers."""
        ...

    def shift_times(self, by: timedelta) -> None:
        """Move timers and claims: the clock has jumped by this much, and durations must stay."""
        ...


class Reader(Protocol):
    """Reads beside the writer, each a consistent view of the last commit; any thread."""

    def deployment(self, deployment_id: str) -> DeploymentRow:
        """Return a deployment.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def deployments(self, *, limit: int, before_id: str = "", status: str = "") -> list[DeploymentRow]:
        """Return deployments, newest first; `before_id` is the last id of the page before."""
        ...

    def plan(self, deployment_id: str) -> bytes:
        """Return the frozen plan's JSON.

        Raises:
            DeploymentNotFound: no such deployment.
        """
        ...

    def events(self, deployment_id: str, *, after_seq: int = 0, limit: int = 1000) -> list[EventRow]:
        """Return events in order."""
        ...

    def attempts(self, deployment_id: str, *, after_number: int = 0, limit: int = 1000) -> list[AttemptRow]:
        """Return attempts in order."""
        ...

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version of a playbook; 0 is the newest.

        Raises:
            PlaybookNotFound: no such playbook or version.
        """
        ...

    def playbooks(self, *, group: str = "", limit: int = 1000) -> list[PlaybookRow]:
        """Return the newest version of each playbook, the newest first."""
        ...

    def outbox_count(self) -> int:
        """Return how many messages wait for the broker."""
        ...


class Storage(Protocol):
    """The database; methods may be called from any thread, writers take turns."""

    @property
    def reader(self) -> Reader:
        """Reads beside the writer."""
        ...

    def begin(self) -> AbstractContextManager[Unit]:
        """Open a writing transaction: commits at the end of the block, rolls back when it raises."""
        ...

    def has_foreign_writes(self) -> bool:
        """Tell whether another process has committed since the last call; cheap."""
        ...

    def lock_core(self, name: str) -> None:
        """Make sure that one core of this name runs on the database; held until `close`.

        Raises:
            StorageError: another one runs.
        """
        ...

    def close(self) -> None:
        """Close every connection. Safe twice."""
        ...


class LogStore(Protocol):
    """Output lines of deployments, apart from the database so that a flood delays no transition."""

    def last_nos(self, deployment_ids: Collection[str]) -> dict[str, tuple[int, int]]:
        """Return (number of the last line, bytes stored) of those deployments that have lines."""
        ...

    def add(self, rows: Iterable[LogRow]) -> None:
        """Append lines in one transaction."""
        ...

    def lines(self, deployment_id: str, *, after_no: int = 0, limit: int = 1000) -> list[LogRow]:
        """Return chunks that hold lines after a number, until `limit` lines are reached."""
        ...

    def close(self) -> None:
        """Close every connection. Safe twice."""
        ...

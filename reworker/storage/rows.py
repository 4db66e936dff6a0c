"""The rows that storage takes and gives.

JSON is bytes, which storage neither reads nor changes; times are aware UTC.
"""

from __future__ import annotations

from datetime import datetime

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
        resumes: id of the failed deployment that it continues; None is none.
        environment: where it is done; empty is nowhere in particular.
        playbook_version: of the stored playbook; None when it is of none, or of an older program.
        is_task: it is a task of a code package.
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
    resumes: str | None = None
    environment: str = ""
    playbook_version: int | None = None
    is_task: bool = False


class DeploymentFilter(msgspec.Struct, frozen=True):
    """Which deployments are wanted: those that fit all that is given; what is empty limits nothing.

    Args:
        id: is the beginning of the id.
        statuses: one of these.
        groups: one of these.
        environments: one of these; the empty word is nowhere in particular.
        playbook_id: made from this stored playbook.
        actor: started by.
        name: is part of the name; capitals do not count in ASCII.
        created_after: at this time or later.
        created_before: before this time.
        is_task: whether it is a task of a code package.
    """

    id: str = ""
    statuses: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    playbook_id: str = ""
    actor: str = ""
    name: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    is_task: bool | None = None


#: no limits at all; and those that are no tasks.
ALL_DEPLOYMENTS, NO_TASKS = DeploymentFilter(), DeploymentFilter(is_task=False)


class PlaceCount(msgspec.Struct, frozen=True):
    """How many deployments of a status are in a group and an environment."""

    status: str
    group: str
    environment: str
    count: int


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
    """One attempt at a step on a host, as it stands; `id` is its correlation id on the wire.

    `role` says what the step is there for: step, verify, rollback or approval; `domain` where its message
    goes, empty without one.
    """

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
    role: str = "step"
    domain: str = ""


class MarkRow(msgspec.Struct, frozen=True):
    """An attempt in the picture of its deployment, without what it says; see `AttemptRow`."""

    number: int
    step_index: int
    role: str
    status: str
    percent: float | None


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


class WaitingRow(msgspec.Struct, frozen=True):
    """A row of the outbox without what it says; see `OutboxRow`."""

    id: str
    deployment_id: str | None
    kind: str
    attempt: int | None
    routing_key: str
    claimed_by: str | None
    claim_until: datetime | None
    created_at: datetime


class LockRow(msgspec.Struct, frozen=True):
    """A lock, or a place in line for one; `number` grows with each that was given out."""

    name: str
    deployment_id: str
    number: int
    is_held: bool


class StorageReport(msgspec.Struct, frozen=True):
    """How a database is: its engine and size, the free bytes on its disk if known, what is wrong in words."""

    engine: str
    size_bytes: int
    free_bytes: int | None
    problems: tuple[str, ...] = ()


class SourceRow(msgspec.Struct, frozen=True):
    """What a deployment was made from: the playbook's text, and JSON of the release rules; None is none."""

    deployment_id: str
    text: str | None
    rules: bytes | None = None


class TokenRow(msgspec.Struct, frozen=True):
    """A token for people or programs; its secret is not kept.

    Args:
        digest: SHA-256 of the whole token.
        name: whose it is; what is done with it is done in this name.
        scopes: JSON, a list of words of `Scope`.
        limits: JSON, ``{"groups": [...], "environments": [...], "hosts": [...]}``; empty lists limit nothing.
        actor: who made it.
    """

    id: str
    digest: str
    name: str
    scopes: bytes
    limits: bytes
    actor: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    used_at: datetime | None = None


class SessionRow(msgspec.Struct, frozen=True):
    """A browser that has logged in, or a link that logs in once.

    Args:
        digest: SHA-256 of the secret that the browser or the link holds.
        kind: session or link.
        token_id: whose rights it has; empty for the link of the first start, which makes a token, and for a
            person whom a provider of identities has let in.
        name: of such a person; else empty.
        rights: JSON, what such a person may do and who says so; else an empty object.
    """

    digest: str
    kind: str
    token_id: str
    created_at: datetime
    expires_at: datetime
    name: str = ""
    rights: bytes = b"{}"


class AuditRow(msgspec.Struct, frozen=True):
    """Something that somebody did, or was not allowed to do; `id` orders them by time.

    Args:
        actor: the name of the token, or of who gave the command.
        token_id: empty without one.
        action: a word of the API, such as ``deployment.cancel``.
        target: id of what it is about; empty is nothing in particular.
        outcome: done, denied or failed.
        detail: in words.
        source_ip: of the client.
    """

    id: str
    at: datetime
    actor: str
    token_id: str
    action: str
    target: str
    outcome: str
    detail: str = ""
    source_ip: str = ""


class SavedViewRow(msgspec.Struct, frozen=True):
    """A question about deployments that somebody asks again and again; `query` is that of the address."""

    owner: str
    name: str
    query: str
    created_at: datetime


class InstanceRow(msgspec.Struct, frozen=True):
    """A core that runs, or ran, on this database."""

    name: str
    host: str
    pid: int
    version: str
    started_at: datetime
    beat_at: datetime


class LockResult(msgspec.Struct, frozen=True):
    """Whether a deployment has its locks.

    Args:
        fence: greater than that of any earlier holder of these names; None while it waits.
        name: a lock that it waits for.
        holder: the deployment that holds that lock, or stands before us in its line.
    """

    fence: int | None
    name: str = ""
    holder: str = ""


class LogRow(msgspec.Struct, frozen=True):
    """Consecutive lines of one deployment; `lines` is ``[[attempt, at, text], ...]`` as JSON."""

    deployment_id: str
    first_no: int
    line_count: int
    lines: bytes


class Changes(msgspec.Struct):
    """Everything one transaction writes, gathered so that each table is written once."""

    created: list[tuple[DeploymentRow, bytes]] = []
    sources: list[SourceRow] = []
    saved: list[DeploymentRow] = []
    events: list[EventRow] = []
    attempts: list[AttemptRow] = []
    timers_set: list[TimerRow] = []
    timers_removed: list[tuple[str, str, int]] = []
    outbox_added: list[OutboxRow] = []
    outbox_removed: list[str] = []
    outbox_released: list[tuple[str, datetime]] = []

"""The tables. JSON is text that storage does not look into; times are UTC; names are portable SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from reworker.storage.any_text import AnyText

#: number of the schema below; raise it with each migration.
SCHEMA_VERSION = 5
LOG_SCHEMA_VERSION = 1
PACKAGE_SCHEMA_VERSION = 1


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, stored as UTC; SQLite keeps it as text without an offset."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Make it naive UTC; a naive time is a bug and raises ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Write SQLite's text as the library does, in a fifth of its time: a step has a dozen times."""
        return utc_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Make it aware again."""
        return value and value.replace(tzinfo=UTC)


@lru_cache(maxsize=512)
def utc_text(value: datetime | None) -> str | None:
    """Return a time as SQLite keeps it and PostgreSQL reads it; most of a batch have the same one."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone")
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(" ", "microseconds").removesuffix("+00:00")


class JsonText(TypeDecorator[bytes]):
    """UTF-8 JSON as bytes in Python and text in the database, where people can read it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        """Decode it."""
        return None if value is None else value.decode("utf-8")

    def process_result_value(self, value: Any, dialect: Dialect) -> bytes | None:
        """Encode it."""
        return None if value is None else str(value).encode("utf-8")


metadata = MetaData()

playbook = Table(
    "playbook",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("group", AnyText, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("text", AnyText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

deployment = Table(
    "deployment",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("playbook_id", String(24)),
    Column("group", AnyText, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("status", String(20), nullable=False),
    Column("version", Integer, nullable=False),
    Column("snapshot", JsonText, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("last_hash", String(64), nullable=False),
    Column("step_count", Integer, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("idempotency_key", AnyText(300), unique=True),
    Column("request_digest", String(64)),
    Column("resumes", String(24)),
    Column("environment", AnyText, nullable=False, server_default=""),
    Column("playbook_version", Integer),
    Column("is_task", Boolean, nullable=False, server_default=false()),
    Index("deployment_by_status", "status", "id"),
    Index("deployment_by_group", "group", "id"),
    Index("deployment_by_playbook", "playbook_id", "id"),
    Index("deployment_by_actor", "actor", "id"),
    Index("deployment_by_request", "request_digest"),
    # With all that is counted, so that no row is read for it.
    Index("deployment_by_place", "group", "environment", "status", "is_task"),
    # Tasks may be very many beside the deployments that people look for.
    Index("deployment_by_kind", "is_task", "id"),
    # Without those that run: their rows are written again and again.
    # A condition stands here for SQLite; `postgres` gives it to the index of a server: named here, it would
    # load all that the library knows of PostgreSQL.
    Index(
        "deployment_by_end",
        "ended_at",
        sqlite_where=text("ended_at IS NOT NULL"),
    ),
)

# The plan has a table of its own: SQLite writes a row whole, and the deployment's is written per event.
plan = Table(
    "plan",
    metadata,
    Column("deployment_id", String(24), ForeignKey("deployment.id"), primary_key=True),
    Column("plan", JsonText, nullable=False),
)

# What the deployment was made from; read only when another one continues it.
source = Table(
    "source",
    metadata,
    Column("deployment_id", String(24), ForeignKey("deployment.id"), primary_key=True),
    Column("text", AnyText),
    Column("rules", JsonText),
)

event = Table(
    "event",
    metadata,
    Column("deployment_id", String(24), ForeignKey("deployment.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("data", JsonText, nullable=False),
    Column("dedup_key", AnyText(300)),
    Column("ignored", AnyText),
    Column("hash", String(64), nullable=False),
    # The key comes first: a batch asks for the keys of many deployments at once.
    UniqueConstraint("dedup_key", "deployment_id", name="event_inbox"),
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("deployment_id", String(24), ForeignKey("deployment.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("step_index", Integer, nullable=False),
    Column("step", AnyText, nullable=False),
    Column("role", String(20), nullable=False, server_default="step"),
    Column("host", AnyText, nullable=False),
    Column("status", String(20), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("worker", AnyText, nullable=False),
    Column("message", AnyText, nullable=False),
    Column("percent", Float),
    Column("data", JsonText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("domain", String(100), nullable=False, server_default=""),
    Index("attempt_by_deployment", "deployment_id", "number", unique=True),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", String(300), primary_key=True),
    Column("deployment_id", String(24)),
    Column("kind", String(20), nullable=False),
    Column("attempt", Integer),
    Column("exchange", String(255), nullable=False),
    Column("routing_key", String(255), nullable=False),
    Column("properties", JsonText, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("is_idempotent", Boolean, nullable=False),
    Column("claimed_by", String(100)),
    Column("claim_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Index("outbox_by_claim", "claim_until", "created_at"),
)

timer = Table(
    "timer",
    metadata,
    Column("deployment_id", String(24), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    Index("timer_by_due", "due_at"),
)

lock = Table(
    "lock",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("deployment_id", String(24), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("lock_by_deployment", "deployment_id"),
)

# A place in the line for a lock; the number of places grows over the life of the database.
lock_wait = Table(
    "lock_wait",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("ticket", BigInteger, primary_key=True, autoincrement=False),
    Column("deployment_id", String(24), nullable=False),
    Index("lock_wait_by_deployment", "deployment_id"),
)

instance = Table(
    "instance",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("host", AnyText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("beat_at", UtcDateTime, nullable=False),
)

token = Table(
    "token",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("name", AnyText, nullable=False),
    Column("scopes", JsonText, nullable=False),
    Column("limits", JsonText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)

session = Table(
    "session",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("token_id", String(24), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("name", AnyText, nullable=False),
    Column("rights", JsonText, nullable=False),
    Index("session_by_token", "token_id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("token_id", String(24), nullable=False),
    Column("action", String(60), nullable=False),
    Column("target", AnyText, nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("detail", AnyText, nullable=False),
    Column("source_ip", String(60), nullable=False),
    Index("audit_by_actor", "actor", "id"),
    Index("audit_by_target", "target", "id"),
)

saved_view = Table(
    "saved_view",
    metadata,
    Column("owner", AnyText, primary_key=True),
    Column("name", AnyText, primary_key=True),
    Column("query", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

task_definition = Table(
    "task_definition",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("document", JsonText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

meta = Table("meta", metadata, Column("name", String(40), primary_key=True), Column("value", Text))

#: tables of the second file, for output lines.
log_metadata = MetaData()

log = Table(
    "log",
    log_metadata,
    Column("deployment_id", String(24), primary_key=True),
    Column("first_no", Integer, primary_key=True),
    Column("line_count", Integer, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("lines", JsonText, nullable=False),
)

log_meta = Table("meta", log_metadata, Column("name", String(40), primary_key=True), Column("value", Text))

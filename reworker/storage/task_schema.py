"""The tables of code packages, tasks and schedules; see `schema`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

from reworker.storage.any_text import AnyText
from reworker.storage.schema import JsonText, UtcDateTime, metadata

project = Table(
    "project",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("name", AnyText, nullable=False, unique=True),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

code = Table(
    "code",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("project_id", String(24), nullable=False),
    Column("name", AnyText, nullable=False),
    Column("rev", Integer, nullable=False),
    Column("revision_id", String(24), nullable=False),
    Column("options", JsonText, nullable=False),
    Column("is_paused", Boolean, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("archived_at", UtcDateTime),
    # A name may be used again once its code was deleted.
    Index(
        "code_by_name",
        "project_id",
        "name",
        unique=True,
        sqlite_where=text("archived_at IS NULL"),
    ),
)

code_revision = Table(
    "code_revision",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("code_id", String(24), nullable=False),
    Column("rev", Integer, nullable=False),
    Column("runtime", AnyText, nullable=False),
    Column("file_name", AnyText, nullable=False),
    Column("checksum", String(32), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("options", JsonText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index("code_revision_by_number", "code_id", "rev", unique=True),
)

task = Table(
    "task",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("project_id", String(24), nullable=False),
    Column("code_id", String(24), nullable=False),
    Column("code_name", AnyText, nullable=False),
    Column("revision_id", String(24), nullable=False),
    Column("rev", Integer, nullable=False),
    Column("status", String(12), nullable=False),
    Column("phase", String(8), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("delay_s", Float, nullable=False),
    Column("timeout_s", Float, nullable=False),
    Column("label", AnyText, nullable=False),
    Column("cluster", AnyText, nullable=False),
    Column("schedule_id", String(24), nullable=False),
    Column("original_id", String(24), nullable=False),
    Column("retry_no", Integer, nullable=False),
    Column("retry_task_id", String(24), nullable=False),
    Column("percent", Integer, nullable=False),
    Column("msg", AnyText, nullable=False),
    Column("options", JsonText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("start_at", UtcDateTime),
    Column("end_at", UtcDateTime),
    Index("task_by_project", "project_id", "id"),
    Index("task_by_status", "project_id", "status", "id"),
    Index("task_by_code", "code_id", "status", "id"),
    Index("task_by_schedule", "schedule_id", "id"),
    # What is to be started next, and what runs; both are few beside all that has ended.
    Index(
        "task_waiting",
        "code_id",
        text("priority DESC"),
        "id",
        sqlite_where=text("phase = 'waiting'"),
    ),
    Index(
        "task_active",
        "code_id",
        "id",
        sqlite_where=text("phase = 'active'"),
    ),
    # Tasks that were cancelled while they waited: no deployment takes them along when it is deleted.
    Index(
        "task_never_started",
        "end_at",
        sqlite_where=text("phase = 'over' AND start_at IS NULL"),
    ),
    Index(
        "task_due",
        "due_at",
        sqlite_where=text("phase = 'waiting'"),
    ),
)

# Payloads have a table of their own: SQLite writes a row whole, and a task's is written several times.
task_payload = Table(
    "task_payload",
    metadata,
    Column("task_id", String(24), primary_key=True),
    Column("payload", AnyText, nullable=False),
)

schedule = Table(
    "schedule",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("project_id", String(24), nullable=False),
    Column("code_name", AnyText, nullable=False),
    Column("payload", AnyText, nullable=False),
    Column("status", String(12), nullable=False),
    Column("start_at", UtcDateTime),
    Column("end_at", UtcDateTime),
    Column("next_at", UtcDateTime),
    Column("last_at", UtcDateTime),
    Column("run_every_s", Float, nullable=False),
    Column("cron", AnyText, nullable=False),
    Column("time_zone", AnyText, nullable=False),
    Column("run_times", Integer, nullable=False),
    Column("run_count", Integer, nullable=False),
    Column("missed", String(8), nullable=False),
    Column("msg", AnyText, nullable=False),
    Column("label", AnyText, nullable=False),
    Column("options", JsonText, nullable=False),
    Column("actor", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Index("schedule_by_project", "project_id", "id"),
    Index(
        "schedule_due",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
    ),
    Index(
        "schedule_over",
        "updated_at",
        sqlite_where=text("next_at IS NULL"),
    ),
)

#: the table of the third file, for the bytes of code packages.
package_metadata = MetaData()

package_piece = Table(
    "package_piece",
    package_metadata,
    Column("package_id", String(24), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

package_meta = Table(
    "meta", package_metadata, Column("name", String(40), primary_key=True), Column("value", Text)
)

"""What the server tells of codes, tasks, schedules and projects, as values; `raw` is all that came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

#: statuses of a task that has not ended; the set of the others is open.
LIVE = ("queued", "preparing", "running")
#: statuses that tasks can be looked for by.
STATUSES = (*LIVE, "complete", "error", "cancelled", "killed", "timeout")
#: our names of what has a unit -> those of the wire.
WIRE_NAMES = {
    "timeout_s": "timeout",
    "delay_s": "delay",
    "run_every_s": "run_every",
    "task_delay_s": "task_delay",
    "retries_delay_s": "retries_delay",
    "duration_ms": "duration",
    "size_bytes": "code_size",
}
#: what the wire has for a time that is not set.
_NO_YEAR = "0001-"

T = TypeVar("T")


@dataclass(frozen=True)
class Project:
    """What codes, tasks and schedules belong to."""

    id: str
    name: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Code:
    """A program that was uploaded, in its newest revision."""

    id: str
    name: str = ""
    project_id: str = ""
    rev: int = 0
    runtime: str = ""
    file_name: str = ""
    latest_checksum: str = ""
    max_concurrency: int = 0
    retries: int = 0
    retries_delay_s: float = 0
    latest_change: datetime | None = None
    created_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Revision:
    """One upload of a code."""

    id: str
    code_id: str = ""
    name: str = ""
    rev: int = 0
    runtime: str = ""
    file_name: str = ""
    checksum: str = ""
    size_bytes: int = 0
    created_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Task:
    """One run of a code. Lists come without payloads."""

    id: str
    code_name: str = ""
    status: str = "queued"
    code_id: str = ""
    code_rev: str = ""
    project_id: str = ""
    payload: str = ""
    priority: int = 0
    label: str = ""
    cluster: str = ""
    timeout_s: float = 0
    delay_s: float = 0
    percent: int = 0
    msg: str = ""
    duration_ms: int = 0
    log_size: int = 0
    schedule_id: str = ""
    retry_task_id: str = ""
    original_task_id: str = ""
    created_at: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self.status not in LIVE

    @property
    def is_complete(self) -> bool:
        """Whether its process ended with 0."""
        return self.status == "complete"


@dataclass(frozen=True)
class Schedule:
    """What queues tasks by the clock."""

    id: str
    code_name: str = ""
    status: str = "scheduled"
    msg: str = ""
    run_every_s: int = 0
    run_times: int = 0
    run_count: int = 0
    start_at: datetime | None = None
    end_at: datetime | None = None
    next_start: datetime | None = None
    last_run_time: datetime | None = None
    created_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def record(kind: type[T], raw: Mapping[str, Any]) -> T:
    """Return a record of what came; what is missing, null or of no use has the default."""
    values: dict[str, Any] = {"raw": dict(raw)}
    for one in fields(kind):  # type: ignore[arg-type]  # each kind is a dataclass of this module
        came = raw.get(WIRE_NAMES.get(one.name, one.name))
        if one.name != "raw" and came is not None:
            values[one.name] = _time(came) if "datetime" in str(one.type) else came
    return kind(**values)


def _time(came: Any) -> datetime | None:
    text = str(came)
    if text.startswith(_NO_YEAR):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def id_of(thing: Any) -> str:
    """Return the id of a record, or an id as it is."""
    return str(getattr(thing, "id", thing))

"""How a task stands, from its deployment. Pure, but for the reads."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from reworker.core.tasks.options import data_of
from reworker.errors import DeploymentNotFound
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import AttemptRow, DeploymentRow, Reader
from reworker.storage.task_rows import TaskRow


class TaskStatus(StrEnum):
    """The statuses of a task, in IronWorker's words; the last five are final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    KILLED = "killed"


#: statuses in which nothing more happens.
FINAL = tuple(TaskStatus)[2:]
#: statuses that the code worker may name in its last reply.
_TOLD = (TaskStatus.ERROR, TaskStatus.TIMEOUT, TaskStatus.KILLED)


def live(reader: Reader, row: TaskRow) -> TaskRow:
    """Return a task as it stands now: its row is written a moment after its deployment's."""
    if row.phase != "active":
        return row
    attempts = reader.attempts(row.id)
    last = attempts[-1] if attempts else None
    try:
        deployment = reader.deployment(row.id)
    except DeploymentNotFound:
        return row
    if deployment.ended_at is not None:
        return ended(row, deployment, last, deployment.ended_at)
    if last is not None and last.started_at is not None:
        return running(row, last.started_at)
    return row


def running(row: TaskRow, at: datetime) -> TaskRow:
    """Return a task whose process was started at this time."""
    status = TaskStatus.RUNNING if row.status == TaskStatus.QUEUED else row.status
    return msgspec.structs.replace(row, status=status, start_at=at, updated_at=max(at, row.updated_at))


def ended(row: TaskRow, deployment: DeploymentRow, last: AttemptRow | None, now: datetime) -> TaskRow:
    """Return a task whose deployment has ended; `last` is its last attempt, if it came to one."""
    status, msg = _outcome(deployment, last)
    return msgspec.structs.replace(
        row,
        status=status,
        phase="over",
        msg=msg or row.msg,
        start_at=last.started_at if last is not None else None,
        end_at=deployment.ended_at or now,
        updated_at=now,
    )


def _outcome(deployment: DeploymentRow, last: AttemptRow | None) -> tuple[str, str]:
    """Return (status, message); a task that completed has none."""
    if deployment.status == DeploymentStatus.COMPLETED:
        return TaskStatus.COMPLETE, ""
    if deployment.status == DeploymentStatus.CANCELLED:
        return TaskStatus.CANCELLED, ""
    if last is None:
        return TaskStatus.KILLED, "it was never started"
    if last.status == AttemptStatus.TIMED_OUT:
        return TaskStatus.TIMEOUT, last.message
    if last.status == AttemptStatus.FAILED:
        told = data_of(last).get("status")
        return (told if told in _TOLD else TaskStatus.ERROR), last.message
    if last.status == AttemptStatus.CANCELLED:
        return TaskStatus.CANCELLED, last.message
    return TaskStatus.KILLED, last.message or "its worker was lost while it ran"

"""The rows of code packages, tasks and schedules; see `rows`.

A task waits in its table until the core starts a deployment of the same id for it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class ProjectRow(msgspec.Struct, frozen=True):
    """What codes, tasks and schedules belong to; `name` is the group of its deployments."""

    id: str
    name: str
    actor: str
    created_at: datetime


class CodeRow(msgspec.Struct, frozen=True):
    """A code package by its name; what was uploaded is in its revisions.

    Args:
        rev: number of the newest revision.
        revision_id: of the newest revision.
        options: JSON, see `core.tasks.options.CodeOptions`.
        is_paused: none of its tasks is started.
        archived_at: when it was deleted; None is not.
    """

    id: str
    project_id: str
    name: str
    rev: int
    revision_id: str
    options: bytes
    is_paused: bool
    actor: str
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None


class RevisionRow(msgspec.Struct, frozen=True):
    """One upload of a code package; its bytes are in the package store under the same id.

    Args:
        checksum: MD5 of the package in hex, as IronWorker's clients compare it.
        digest: SHA-256 of it.
        file_name: that is run, inside of the package.
        options: JSON, as the code had them then.
    """

    id: str
    code_id: str
    rev: int
    runtime: str
    file_name: str
    checksum: str
    digest: str
    size_bytes: int
    options: bytes
    actor: str
    created_at: datetime


class TaskRow(msgspec.Struct, frozen=True):
    """One run of a code package.

    Args:
        status: queued, running, complete, error, timeout, cancelled or killed.
        phase: waiting (no deployment yet), active (its deployment has not ended), or over.
        due_at: before which it is not started.
        schedule_id: of the schedule that made it; empty is none.
        original_id: of the task that it tries again; empty is none.
        retry_no: how many times that was tried again, this time included; 0 is the first time.
        retry_task_id: of the task that tries this one again; empty is none.
        options: JSON, see `core.tasks.options.TaskOptions`.
    """

    id: str
    project_id: str
    code_id: str
    code_name: str
    revision_id: str
    rev: int
    status: str
    phase: str
    priority: int
    due_at: datetime
    delay_s: float
    timeout_s: float
    label: str
    cluster: str
    schedule_id: str
    original_id: str
    retry_no: int
    retry_task_id: str
    percent: int
    msg: str
    options: bytes
    actor: str
    created_at: datetime
    updated_at: datetime
    start_at: datetime | None = None
    end_at: datetime | None = None


class TaskFilter(msgspec.Struct, frozen=True):
    """Which tasks are wanted: those that fit all that is given; what is empty limits nothing.

    `before_id` wants those that were made before the task of this id.
    """

    project_id: str = ""
    code_id: str = ""
    code_name: str = ""
    statuses: tuple[str, ...] = ()
    label: str = ""
    cluster: str = ""
    schedule_id: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    before_id: str = ""
    updated_after: datetime | None = None
    updated_before: datetime | None = None


class ScheduleRow(msgspec.Struct, frozen=True):
    """When tasks of a code are to be made.

    Args:
        status: scheduled, complete or cancelled.
        next_at: when the next task is made; None is never.
        run_every_s: seconds between two; 0 is not repeated, or by `cron`.
        cron: expression of five fields; empty is none.
        time_zone: of `cron`, an IANA name.
        run_times: tasks in all; 0 is without limit.
        missed: what becomes of moments that passed while no core ran: ``once`` or ``skip`` or ``all``.
        options: JSON of what each task has, see `core.tasks.options.ScheduleOptions`.
    """

    id: str
    project_id: str
    code_name: str
    payload: str
    status: str
    start_at: datetime | None
    end_at: datetime | None
    next_at: datetime | None
    last_at: datetime | None
    run_every_s: float
    cron: str
    time_zone: str
    run_times: int
    run_count: int
    missed: str
    msg: str
    label: str
    options: bytes
    actor: str
    created_at: datetime
    updated_at: datetime


class CodeLoad(msgspec.Struct, frozen=True):
    """Of a code whose tasks wait to be started: how many of its tasks are active.

    Args:
        options: JSON, see `CodeRow`.
    """

    code_id: str
    options: bytes
    active_count: int


class TaskWork(msgspec.Struct, frozen=True):
    """What is to be done with tasks at a moment.

    Args:
        has_ended: tasks are active whose deployment has ended.
        has_started: tasks are active and queued by their row, whose process was started.
        has_waiting: tasks wait that are due, of whatever code.
    """

    has_ended: bool
    has_started: bool
    has_waiting: bool

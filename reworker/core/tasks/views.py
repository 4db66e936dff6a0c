"""Projects, codes, tasks and schedules as people and programs see them: with masks for secrets. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.filtering import filtered, filtered_values
from reworker.core.tasks.options import ScheduleOptions, TaskOptions, decoded
from reworker.core.tasks.outcomes import FINAL, TaskStatus
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow, ScheduleRow, TaskRow


class Project(msgspec.Struct, frozen=True):
    """What codes, tasks and schedules belong to.

    Args:
        id: 24 hexadecimal digits.
        name: also the group of the deployments of its tasks.
        actor: who made it.
        created_at: when it was made.
    """

    id: str
    name: str
    actor: str
    created_at: datetime


class Revision(msgspec.Struct, frozen=True):
    """One upload of a code package.

    Args:
        id: 24 hexadecimal digits.
        rev: its number, from 1.
        runtime: what runs it.
        file_name: that is run, inside of the package.
        checksum: MD5 of the package.
        digest: SHA-256 of it.
        size_bytes: of the package.
        actor: who uploaded it.
        created_at: when it was uploaded.
    """

    id: str
    rev: int
    runtime: str
    file_name: str
    checksum: str
    digest: str
    size_bytes: int
    actor: str
    created_at: datetime


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A code package by its name.

    Args:
        id: 24 hexadecimal digits.
        project_id: of its project.
        project: name of its project.
        name: unique in its project.
        rev: number of the newest revision.
        is_paused: none of its tasks is started.
        max_concurrency: tasks that run at once at most; 0 is without limit.
        retries: how many times a task that ends in error is tried again.
        retries_delay_s: seconds before each of these.
        default_priority: of tasks that name none.
        config: text for each task.
        env_vars: variables of each task's environment.
        result_queue: where the result of each task is sent; empty is nowhere.
        result_url: where it is posted to, signed; empty is nowhere.
        actor: who uploaded it first.
        created_at: when it was uploaded first.
        updated_at: when it last changed.
        revision: the newest one.
    """

    id: str
    project_id: str
    project: str
    name: str
    rev: int
    is_paused: bool
    max_concurrency: int
    retries: int
    retries_delay_s: float
    default_priority: int
    config: str
    env_vars: dict[str, str]
    result_queue: str
    result_url: str
    actor: str
    created_at: datetime
    updated_at: datetime
    revision: Revision | None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a code package.

    Args:
        id: 24 hexadecimal digits, ordered by time; its deployment has the same.
        project_id: of its project.
        project: name of its project.
        code_id: of its code.
        code: name of its code.
        rev: number of the revision that is run.
        status: where it is.
        is_over: nothing more will happen to it.
        has_deployment: it was started, so there is a deployment of its id.
        priority: 0, 1 or 2; a higher one is started first.
        due_at: before which it is not started.
        delay_s: that it was asked to wait.
        timeout_s: that it may run.
        label: as it was asked for.
        cluster: as it was asked for.
        schedule_id: of the schedule that made it; empty is none.
        original_id: of the task that it tries again; empty is none.
        retry_no: how many times that was tried again, this time included.
        retry_task_id: of the task that tries this one again; empty is none.
        percent: how far it is, as its process says.
        message: what its process said last, or why it did not complete.
        actor: who queued it.
        created_at: when it was queued.
        updated_at: when it last changed.
        started_at: when its process was started.
        ended_at: when it was over.
        payload: text for its process; left out of lists.
    """

    id: str
    project_id: str
    project: str
    code_id: str
    code: str
    rev: int
    status: TaskStatus
    is_over: bool
    has_deployment: bool
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
    message: str
    actor: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    name: str = ""
    result_queue: str = ""
    result_url: str = ""
    payload: str | None = None

    @property
    def took_s(self) -> float | None:
        """How long its process ran, once it has ended."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When tasks of a code are to be made.

    Args:
        id: 24 hexadecimal digits.
        project_id: of its project.
        project: name of its project.
        code: name of the code.
        status: scheduled, complete or cancelled.
        message: why it is over.
        start_at: before which none is made.
        end_at: after which none is made.
        next_at: when the next one is made; null is never.
        last_at: when the last one was made.
        run_every_s: seconds between two; 0 is not repeated, or by `cron`.
        cron: expression of five fields; empty is none.
        time_zone: of `cron`.
        run_times: tasks in all; 0 is without limit.
        run_count: tasks that were made.
        missed: what becomes of moments that passed while no core ran - once, skip or all.
        priority: of its tasks; null is that of the code.
        timeout_s: that its tasks may run; null is the default.
        task_delay_s: that each task waits.
        label: of its tasks.
        cluster: of its tasks.
        payload: text for the process of each task.
        actor: who made it.
        created_at: when it was made.
        updated_at: when it last changed.
    """

    id: str
    project_id: str
    project: str
    code: str
    status: str
    message: str
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
    priority: int | None
    timeout_s: float | None
    task_delay_s: float
    label: str
    cluster: str
    payload: str
    actor: str
    created_at: datetime
    updated_at: datetime
    name: str = ""
    result_queue: str = ""
    result_url: str = ""


def project_of(row: ProjectRow) -> Project:
    """Return a project as it is shown."""
    return Project(row.id, row.name, row.actor, row.created_at)


def revision_of(row: RevisionRow) -> Revision:
    """Return a revision as it is shown."""
    return Revision(
        id=row.id,
        rev=row.rev,
        runtime=row.runtime,
        file_name=row.file_name,
        checksum=row.checksum,
        digest=row.digest,
        size_bytes=row.size_bytes,
        actor=row.actor,
        created_at=row.created_at,
    )


def code_of(row: CodeRow, project: str, newest: RevisionRow | None) -> Code:
    """Return a code as it is shown.

    Args:
        row: itself.
        project: name of its project.
        newest: revision; None when it cannot be found.
    """
    options = decoded_options(row)
    return Code(
        id=row.id,
        project_id=row.project_id,
        project=project,
        name=row.name,
        rev=row.rev,
        is_paused=row.is_paused,
        max_concurrency=options.max_concurrency,
        retries=options.retries,
        retries_delay_s=options.retries_delay_s,
        default_priority=options.default_priority,
        config=filtered(options.config),
        env_vars=filtered_values(options.env_vars),
        result_queue=options.result_queue,
        result_url=filtered(options.result_url),
        actor=row.actor,
        created_at=row.created_at,
        updated_at=row.updated_at,
        revision=revision_of(newest) if newest is not None else None,
    )


def task_of(row: TaskRow, project: str, payload: str | None = None) -> Task:
    """Return a task as it is shown.

    Args:
        row: as it stands now.
        project: name of its project.
        payload: with its secrets; None leaves it out.
    """
    options = decoded(TaskOptions, row.options)
    plain = {name: getattr(row, name) for name in Task.__struct_fields__ if hasattr(row, name)}
    return Task(
        **plain
        | {
            "project": project,
            "code": row.code_name,
            "status": TaskStatus(row.status),
            "is_over": row.phase == "over" and row.status in FINAL,
            "has_deployment": row.phase == "active" or row.start_at is not None,
            "message": row.msg,
            "started_at": row.start_at,
            "ended_at": row.end_at,
            "name": options.name,
            "result_queue": options.result_queue,
            "result_url": filtered(options.result_url),
            "payload": None if payload is None else filtered(payload),
        }
    )


def schedule_of(row: ScheduleRow, project: str) -> Schedule:
    """Return a schedule as it is shown."""
    options = decoded(ScheduleOptions, row.options)
    plain = {name: getattr(row, name) for name in Schedule.__struct_fields__ if hasattr(row, name)}
    return Schedule(
        **plain
        | {
            "project": project,
            "code": row.code_name,
            "message": row.msg,
            "priority": options.priority,
            "timeout_s": options.timeout_s,
            "task_delay_s": options.delay_s,
            "cluster": options.cluster,
            "payload": filtered(row.payload),
            "name": options.name,
            "result_queue": options.result_queue,
            "result_url": filtered(options.result_url),
        }
    )

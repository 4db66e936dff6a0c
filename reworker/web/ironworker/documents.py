"""Codes, tasks and projects as IronWorker's clients read them: what is not set is left out. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.filtering import filtered, filtered_values
from reworker.core.tasks.options import CodeOptions, ScheduleOptions, TaskOptions, decoded
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow, ScheduleRow, TaskRow

Document = dict[str, Any]


def date_of(at: datetime) -> str:
    """Return a time as clients of all languages can read it: ``2016-06-08T17:52:09.689Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def set_only(document: Document) -> Document:
    """Return a document without what is not set."""
    return {key: value for key, value in document.items() if value is not None and value != ""}


def _options(options: CodeOptions, *, is_masked: bool, is_paused: bool = False) -> Document:
    """Return what was set of a code; its tasks wait while it is paused, which clients know as -1 at once."""
    config, env_vars = options.config, options.env_vars
    if is_masked:
        config, env_vars = filtered(config), filtered_values(env_vars)
    return {
        "max_concurrency": -1 if is_paused else options.max_concurrency or None,
        "retries": options.retries,
        "retries_delay": math.ceil(options.retries_delay_s),
        "default_priority": options.default_priority,
        "config": config,
        "env_vars": env_vars or None,
        "result_queue": options.result_queue,
        "result_url": options.result_url,
    }


def code_document(code: CodeRow, revision: RevisionRow, *, is_masked: bool) -> Document:
    """Return a code with what its newest revision adds, with masks for secrets or without."""
    return set_only(
        {
            "id": code.id,
            "project_id": code.project_id,
            "name": code.name,
            "runtime": revision.runtime,
            "file_name": revision.file_name,
            "latest_checksum": revision.checksum,
            "rev": code.rev,
            "latest_history_id": revision.id,
            "latest_change": date_of(code.updated_at),
            "created_at": date_of(code.created_at),
            "updated_at": date_of(code.updated_at),
            **_options(decoded_options(code), is_masked=is_masked, is_paused=code.is_paused),
        }
    )


def revision_document(code: CodeRow, revision: RevisionRow, *, is_masked: bool) -> Document:
    """Return one upload of a code, with masks for secrets or without."""
    return set_only(
        {
            "id": revision.id,
            "code_id": code.id,
            "project_id": code.project_id,
            "name": code.name,
            "rev": revision.rev,
            "created_at": date_of(revision.created_at),
            "updated_at": date_of(revision.created_at),
            "runtime": revision.runtime,
            "file_name": revision.file_name,
            "checksum": revision.checksum,
            "code_size": revision.size_bytes,
            **_options(decoded(CodeOptions, revision.options), is_masked=is_masked),
        }
    )


def task_document(task: TaskRow, payload: str | None = None) -> Document:
    """Return a task; lists have no payloads."""
    options = decoded(TaskOptions, task.options)
    document = set_only(
        {
            "id": task.id,
            "project_id": task.project_id,
            "code_id": task.code_id,
            "code_history_id": task.revision_id,
            "code_name": task.code_name,
            "code_rev": str(task.rev),
            "name": options.name,
            "status": task.status,
            "priority": task.priority,
            "timeout": math.ceil(task.timeout_s),
            "delay": math.ceil(task.delay_s),
            "label": task.label,
            "cluster": task.cluster,
            "sync": options.is_sync or None,
            "percent": task.percent,
            "msg": task.msg,
            "start_time": _date(task.start_at),
            "end_time": _date(task.end_at),
            "duration": _duration_ms(task),
            "run_times": 1 if task.start_at else 0,
            "schedule_id": task.schedule_id,
            "retry_count": task.retry_no,
            "retry": task.retry_no or None,
            "original_task_id": task.original_id,
            "retry_task_id": task.retry_task_id,
            "created_at": date_of(task.created_at),
            "updated_at": date_of(task.updated_at),
        }
    )
    return document if payload is None else {**document, "payload": payload}


def _duration_ms(task: TaskRow) -> int | None:
    if task.start_at is None or task.end_at is None:
        return None
    return max(0, round((task.end_at - task.start_at).total_seconds() * 1000))


def schedule_document(row: ScheduleRow, *, is_masked: bool) -> Document:
    """Return a schedule, with masks for secrets of its payload or without."""
    options = decoded(ScheduleOptions, row.options)
    return set_only(
        {
            "id": row.id,
            "project_id": row.project_id,
            "code_name": row.code_name,
            "name": options.name,
            "status": row.status,
            "msg": row.msg,
            "start_at": _date(row.start_at),
            "end_at": _date(row.end_at),
            "next_start": _date(row.next_at),
            "last_run_time": _date(row.last_at),
            "run_every": math.ceil(row.run_every_s) or None,
            "cron": row.cron,
            "time_zone": row.time_zone,
            "missed": row.missed if row.cron or row.run_every_s else None,
            "run_times": row.run_times or None,
            "run_count": row.run_count,
            "priority": options.priority,
            "timeout": None if options.timeout_s is None else math.ceil(options.timeout_s),
            "task_delay": math.ceil(options.delay_s) or None,
            "label": row.label,
            "cluster": options.cluster,
            "sync": options.is_sync or None,
            "created_at": date_of(row.created_at),
            "updated_at": date_of(row.updated_at),
        }
    ) | {"payload": filtered(row.payload) if is_masked else row.payload}


def _date(at: datetime | None) -> str | None:
    return date_of(at) if at is not None else None


def project_document(project: ProjectRow) -> Document:
    """Return a project."""
    return {"id": project.id, "name": project.name, "created_at": date_of(project.created_at)}

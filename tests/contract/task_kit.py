"""Rows of code packages, tasks and schedules for the storage suites."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from reworker.storage.contract import Changes, Storage
from reworker.storage.definition_contract import DefinitionRow
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow, ScheduleRow, TaskRow
from tests.contract.storage_kit import NOW, attempt, deployment

PROJECT, CODE, REVISION, TASK, SCHEDULE = ("a" * 24, "b" * 24, "c" * 24, "d" * 24, "e" * 24)


def own_id(number: int) -> str:
    """Return an id; later ones are of higher numbers."""
    return f"{number:024x}"


def project_row(own_id: str = PROJECT, name: str = "web") -> ProjectRow:
    return ProjectRow(own_id, name, "ann", NOW)


def code_row(own_id: str = CODE, **fields: object) -> CodeRow:
    row = CodeRow(
        id=own_id,
        project_id=PROJECT,
        name="Fib",
        rev=1,
        revision_id=REVISION,
        options=b'{"retries":1}',
        is_paused=False,
        actor="ann",
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def revision_row(own_id: str = REVISION, **fields: object) -> RevisionRow:
    row = RevisionRow(
        id=own_id,
        code_id=CODE,
        rev=1,
        runtime="python",
        file_name="fib é.py",
        checksum="1" * 32,
        digest="2" * 64,
        size_bytes=3 << 31,
        options=b"{}",
        actor="ann",
        created_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def definition_row(name: str = "a/b", **fields: object) -> DefinitionRow:
    """Return a definition of a task type, whose name may hold anything."""
    row = DefinitionRow(name, b'{"name":"a/b","retryCount":2}', "ann", NOW, NOW)
    return msgspec.structs.replace(row, **fields)


def task_row(own_id: str = TASK, **fields: object) -> TaskRow:
    row = TaskRow(
        id=own_id,
        project_id=PROJECT,
        code_id=CODE,
        code_name="Fib",
        revision_id=REVISION,
        rev=1,
        status="queued",
        phase="waiting",
        priority=0,
        due_at=NOW,
        delay_s=0.5,
        timeout_s=3600.0,
        label="l",
        cluster="default",
        schedule_id="",
        original_id="",
        retry_no=0,
        retry_task_id="",
        percent=0,
        msg="é\x00",
        options=b"{}",
        actor="ann",
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def schedule_row(own_id: str = SCHEDULE, due_s: float | None = 0, **fields: object) -> ScheduleRow:
    """Return a schedule that is due so many seconds after `NOW`; None is never."""
    row = ScheduleRow(
        id=own_id,
        project_id=PROJECT,
        code_name="Fib",
        payload="{}",
        status="scheduled",
        start_at=NOW,
        end_at=None,
        next_at=None if due_s is None else NOW + timedelta(seconds=due_s),
        last_at=None,
        run_every_s=60.0,
        cron="",
        time_zone="",
        run_times=0,
        run_count=0,
        missed="once",
        msg="",
        label="",
        options=b"{}",
        actor="ann",
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def run(storage: Storage, *ids: str, has_started: bool = True, **fields: object) -> None:
    """Make the deployments of tasks, each with one attempt."""
    created = [(deployment(one, **fields), b"{}") for one in ids]
    started_at = NOW + timedelta(seconds=1) if has_started else None
    attempts = [msgspec.structs.replace(attempt("started", own_id=one), started_at=started_at) for one in ids]
    with storage.begin() as unit:
        unit.save(Changes(created=created, attempts=attempts))

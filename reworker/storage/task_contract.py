"""What a database must do for code packages, tasks and schedules; see `contract`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Protocol

from reworker.storage.rows import AttemptRow
from reworker.storage.task_rows import (
    CodeLoad,
    CodeRow,
    ProjectRow,
    RevisionRow,
    ScheduleRow,
    TaskFilter,
    TaskRow,
    TaskWork,
)


class CodeUnit(Protocol):
    """The part of a writing transaction that is about projects and code packages."""

    def add_project(self, row: ProjectRow) -> None:
        """Store a project.

        Raises:
            StorageError: there is one of this name.
        """
        ...

    def lock_code(self, project_id: str, name: str) -> CodeRow | None:
        """Return the code of a name that is not deleted; nobody else changes that name until we end."""
        ...

    def lock_codes(self, ids: Collection[str]) -> dict[str, CodeRow]:
        """Return the codes that exist, locked until the end of the transaction."""
        ...

    def put_code(self, row: CodeRow) -> None:
        """Store a code, or what has changed of it."""
        ...

    def add_revision(self, row: RevisionRow) -> None:
        """Store a revision."""
        ...


class TaskUnit(Protocol):
    """The part of a writing transaction that is about tasks."""

    def add_tasks(self, rows: Sequence[TaskRow], payloads: Sequence[str]) -> None:
        """Store tasks, each with its payload."""
        ...

    def lock_tasks(self, ids: Collection[str]) -> dict[str, TaskRow]:
        """Return the tasks that exist, locked until the end of the transaction."""
        ...

    def save_tasks(self, rows: Sequence[TaskRow]) -> None:
        """Store what has changed of tasks that are locked."""
        ...

    def ready_tasks(self, code_id: str, now: datetime, limit: int) -> list[TaskRow]:
        """Return waiting tasks of a code that are due, by priority and age, locked.

        Those that another transaction has locked are passed over.
        """
        ...

    def ended_tasks(self, limit: int) -> list[TaskRow]:
        """Return active tasks whose deployment has ended, locked; see `ready_tasks`."""
        ...

    def started_tasks(self, limit: int) -> list[tuple[TaskRow, datetime]]:
        """Return active tasks that are still queued by their row, and when their process was started.

        They are locked; see `ready_tasks`.
        """
        ...

    def last_attempts(self, ids: Collection[str]) -> dict[str, AttemptRow]:
        """Return the last attempt of each of these tasks that came to one."""
        ...

    def active_count(self, code_id: str) -> int:
        """Return how many tasks of a code are active."""
        ...

    def payloads(self, ids: Collection[str]) -> dict[str, str]:
        """Return the payloads of tasks."""
        ...

    def open_ids(self, code_id: str) -> list[str]:
        """Return the ids of the tasks of a code that are not over."""
        ...

    def prune_tasks(self, before: datetime, limit: int) -> int:
        """Delete tasks that were over before this time and never started; return how many.

        Those that were started go with their deployments.
        """
        ...


class ScheduleUnit(Protocol):
    """The part of a writing transaction that is about schedules."""

    def add_schedules(self, rows: Sequence[ScheduleRow]) -> None:
        """Store schedules."""
        ...

    def lock_schedule(self, schedule_id: str) -> ScheduleRow | None:
        """Return a schedule, locked until the end of the transaction."""
        ...

    def save_schedules(self, rows: Sequence[ScheduleRow]) -> None:
        """Store what has changed of schedules that are locked."""
        ...

    def due_schedules(self, now: datetime, limit: int) -> list[ScheduleRow]:
        """Return schedules that are due, the longest overdue first, locked.

        Those that another transaction has locked are passed over.
        """
        ...

    def prune_schedules(self, before: datetime, limit: int) -> int:
        """Delete schedules that were over before this time; return how many."""
        ...

    def schedules_ahead(self, after: datetime) -> list[ScheduleRow]:
        """Return schedules that are not over and fired later than this, locked; see `due_schedules`."""
        ...


class CodeReader(Protocol):
    """The reads that are about projects and code packages.

    Lists have the newest first; `offset` of them are passed over.
    """

    def project(self, key: str) -> ProjectRow | None:
        """Return the project of an id, else of a name."""
        ...

    def projects(self, *, limit: int, offset: int = 0) -> list[ProjectRow]:
        """Return projects, by name."""
        ...

    def code(self, code_id: str) -> CodeRow | None:
        """Return a code, deleted or not."""
        ...

    def code_named(self, project_id: str, name: str) -> CodeRow | None:
        """Return the code of a name that is not deleted."""
        ...

    def codes(self, project_id: str, *, limit: int, offset: int = 0) -> list[CodeRow]:
        """Return codes that are not deleted, of a project; an empty id is of all."""
        ...

    def deleted_codes(self, *, limit: int) -> list[str]:
        """Return the ids of deleted codes that have no active task, the last deleted first."""
        ...

    def revision(self, revision_id: str) -> RevisionRow | None:
        """Return a revision."""
        ...

    def revision_of(self, code_id: str, rev: int) -> RevisionRow | None:
        """Return the revision of a code by its number."""
        ...

    def revisions(self, code_id: str, *, limit: int, offset: int = 0) -> list[RevisionRow]:
        """Return the revisions of a code."""
        ...

    def needed_packages(self, ids: Collection[str]) -> set[str]:
        """Return those packages that a code has, or a task of a deleted code that is not over."""
        ...


class TaskReader(Protocol):
    """The reads that are about tasks; see `CodeReader` for lists."""

    def task(self, task_id: str) -> TaskRow | None:
        """Return a task."""
        ...

    def payload(self, task_id: str) -> str:
        """Return the payload of a task; empty when there is none."""
        ...

    def tasks(self, wanted: TaskFilter, *, limit: int, offset: int = 0) -> list[TaskRow]:
        """Return tasks that are wanted."""
        ...

    def task_counts(self, wanted: TaskFilter, updated_after: datetime | None = None) -> dict[str, int]:
        """Return how many tasks that are wanted have each status."""
        ...

    def waiting_codes(self, now: datetime) -> list[CodeLoad]:
        """Return the codes that have waiting tasks which are due, and are not paused."""
        ...

    def next_task_at(self, now: datetime) -> datetime | None:
        """Return when the next task or schedule is due that is not due yet; None without any."""
        ...

    def task_work(self, now: datetime) -> TaskWork:
        """Return what is to be done with tasks; cheap."""
        ...

    def active_ids(self) -> list[str]:
        """Return the ids of the tasks that are active."""
        ...


class ScheduleReader(Protocol):
    """The reads that are about schedules; see `CodeReader` for lists."""

    def schedule(self, schedule_id: str) -> ScheduleRow | None:
        """Return a schedule."""
        ...

    def schedules(
        self, project_id: str, *, limit: int, offset: int = 0, status: str = ""
    ) -> list[ScheduleRow]:
        """Return schedules of a project; an empty id is of all."""
        ...

    def schedule_counts(self, project_id: str) -> dict[str, int]:
        """Return how many schedules of a project have each status; an empty id is of all."""
        ...

    def has_due_schedules(self, now: datetime) -> bool:
        """Tell whether there are schedules that are due; cheap."""
        ...


class PackageStore(Protocol):
    """The bytes of code packages, in pieces, so that none is ever in memory as a whole."""

    def add(self, package_id: str, number: int, data: bytes) -> None:
        """Store a piece, numbered from 0; it is on the disk when this returns."""
        ...

    def pieces(self, package_id: str) -> Iterator[bytes]:
        """Yield the pieces in order."""
        ...

    def ids(self, after: str, limit: int) -> list[str]:
        """Return the ids of packages behind one of them, in order."""
        ...

    def remove(self, package_id: str) -> None:
        """Delete a package; one that is not there is no error."""
        ...

    def close(self) -> None:
        """Close every connection. Safe twice."""
        ...

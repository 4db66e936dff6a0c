"""What commands ask of codes, tasks and schedules: on a database, or on a server, behind one contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, BinaryIO, Protocol, cast

import msgspec

from reworker.cli.packing import pieces
from reworker.core.service import Service
from reworker.core.tasks.code_settings import CodeSettings, changed
from reworker.core.tasks.codes import CodeDraft, decoded_options
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.requests import NewCode, NewTask, draft_of_task, require_runnable
from reworker.core.tasks.schedule_requests import (
    ChangedSchedule,
    NewSchedule,
    changes_of,
    draft_of_schedule,
)
from reworker.core.tasks.views import (
    Code,
    Project,
    Revision,
    Schedule,
    Task,
    code_of,
    project_of,
    revision_of,
    schedule_of,
    task_of,
)
from reworker.storage.task_rows import CodeRow, ProjectRow, TaskFilter, TaskRow
from reworker.task_errors import ThingNotFound

#: rows that are read at once.
PAGE_COUNT = 200


class Wanted(msgspec.Struct, frozen=True):
    """Which tasks are to be listed; empty limits nothing."""

    project: str = ""
    code: str = ""
    statuses: tuple[str, ...] = ()
    label: str = ""
    schedule: str = ""
    limit: int = 20


class AskedCodes(Protocol):
    """What commands ask about projects and codes; projects are given by id or name."""

    def projects(self) -> Iterator[Project]:
        """Yield projects, by name."""
        ...

    def add_project(self, name: str) -> Project:
        """Make a project, or return the one of this name."""
        ...

    def codes(self, project: str) -> Iterator[Code]:
        """Yield codes, newest first; an empty project is any."""
        ...

    def code(self, code_id: str) -> Code:
        """Return a code by its id."""
        ...

    def code_named(self, project: str, name: str) -> Code | None:
        """Return a code by its name, or None."""
        ...

    def upload(self, asked: NewCode, file: IO[bytes] | None) -> Code:
        """Store a code, or a revision of one."""
        ...

    def change_code(self, code_id: str, asked: CodeSettings) -> Code:
        """Change options."""
        ...

    def pause_code(self, code_id: str, *, is_paused: bool) -> Code:
        """Start none of its tasks, or start them again."""
        ...

    def remove_code(self, code_id: str) -> None:
        """Delete a code."""
        ...

    def revisions(self, code_id: str) -> Iterator[Revision]:
        """Yield revisions, newest first."""
        ...

    def package(self, code_id: str, rev: int) -> Iterator[bytes]:
        """Yield the bytes of a revision; 0 is the newest."""
        ...


class AskedWork(AskedCodes, Protocol):
    """All that commands ask about codes, tasks and schedules."""

    def queue(self, project: str, asked: Sequence[NewTask]) -> list[Task]:
        """Queue tasks."""
        ...

    def tasks(self, wanted: Wanted) -> Iterator[Task]:
        """Yield tasks, newest first."""
        ...

    def task(self, task_id: str) -> Task:
        """Return a task with its payload."""
        ...

    def output(self, task_id: str, after_no: int) -> tuple[Iterator[str], int]:
        """Return what a task has written behind a line, in pieces, and the number of the last line."""
        ...

    def cancel_task(self, task_id: str) -> Task:
        """End a task."""
        ...

    def retry_task(self, task_id: str, delay_s: float) -> Task:
        """Queue a task anew."""
        ...

    def add_schedule(self, asked: NewSchedule) -> Schedule:
        """Make a schedule."""
        ...

    def schedules(self, project: str, status: str) -> Iterator[Schedule]:
        """Yield schedules, newest first."""
        ...

    def schedule(self, schedule_id: str) -> Schedule:
        """Return a schedule."""
        ...

    def change_schedule(self, schedule_id: str, asked: ChangedSchedule) -> Schedule:
        """Change a schedule."""
        ...

    def cancel_schedule(self, schedule_id: str) -> Schedule:
        """Make no more tasks of a schedule."""
        ...


class LocalCodes:
    """Projects and codes on a database; `actor` is who gives the commands."""

    def __init__(self, service: Service, actor: str) -> None:
        self._service, self._actor = service, actor
        self._names: dict[str, str] = {}

    def projects(self) -> Iterator[Project]:
        """Yield projects; see `AskedWork`."""
        offset = 0
        while rows := self._service.projects.all(limit=PAGE_COUNT, offset=offset):
            yield from map(project_of, rows)
            offset += len(rows)

    def add_project(self, name: str) -> Project:
        """Make a project; see `AskedWork`."""
        return project_of(self._service.projects.add(name, actor=self._actor))

    def codes(self, project: str) -> Iterator[Code]:
        """Yield codes; see `AskedWork`."""
        offset, own = 0, self._project(project)
        while rows := self._service.codes.codes(own, limit=PAGE_COUNT, offset=offset):
            yield from map(self._code, rows)
            offset += len(rows)

    def code(self, code_id: str) -> Code:
        """Return a code; see `AskedWork`."""
        return self._code(self._service.codes.code(code_id))

    def code_named(self, project: str, name: str) -> Code | None:
        """Return a code or None; see `AskedWork`."""
        own = self._service.projects.find(project)
        with suppress(ThingNotFound):
            return self._code(self._service.codes.named(own, name))
        return None

    def upload(self, asked: NewCode, file: IO[bytes] | None) -> Code:
        """Check and store a code; see `AskedWork`."""
        from reworker.codes.packages import check_package

        project = self._service.projects.find(asked.project)
        if file is not None:
            require_runnable(asked)
            check_package(cast(BinaryIO, file), asked.file_name)
        before = CodeOptions()
        with suppress(ThingNotFound):
            before = decoded_options(self._service.codes.named(project, asked.name))
        options = None if asked.is_empty else changed(before, asked)
        draft = CodeDraft(asked.name, asked.runtime, asked.file_name, options)
        package = pieces(file) if file is not None else None
        return self._code(self._service.codes.upload(project, draft, package, actor=self._actor))

    def change_code(self, code_id: str, asked: CodeSettings) -> Code:
        """Change options; see `AskedWork`."""
        row = self._service.codes.code(code_id)
        self._service.codes.change_options(row, changed(decoded_options(row), asked))
        return self.code(code_id)

    def pause_code(self, code_id: str, *, is_paused: bool) -> Code:
        """Pause or resume; see `AskedWork`."""
        self._service.codes.pause(self._service.codes.code(code_id), is_paused=is_paused)
        return self.code(code_id)

    def remove_code(self, code_id: str) -> None:
        """Delete a code; see `AskedWork`."""
        self._service.codes.remove(self._service.codes.code(code_id))

    def revisions(self, code_id: str) -> Iterator[Revision]:
        """Yield revisions; see `AskedWork`."""
        row, offset = self._service.codes.code(code_id), 0
        while rows := self._service.codes.revisions(row, limit=PAGE_COUNT, offset=offset):
            yield from map(revision_of, rows)
            offset += len(rows)

    def package(self, code_id: str, rev: int) -> Iterator[bytes]:
        """Yield a package; see `AskedWork`."""
        row = self._service.codes.code(code_id)
        return self._service.codes.package(self._service.codes.revision(row, rev))

    def _project(self, key: str) -> ProjectRow | None:
        return self._service.projects.find(key) if key else None

    def _name(self, project_id: str) -> str:
        if project_id not in self._names:
            self._names[project_id] = self._service.projects.find(project_id).name
        return self._names[project_id]

    def _code(self, row: CodeRow) -> Code:
        newest = None
        with suppress(ThingNotFound):
            newest = self._service.codes.revision(row)
        return code_of(row, self._name(row.project_id), newest)


class LocalWork(LocalCodes):
    """The core's service on a database."""

    def queue(self, project: str, asked: Sequence[NewTask]) -> list[Task]:
        """Queue tasks; see `AskedWork`."""
        own = self._service.projects.find(project)
        rows = self._service.tasks.queue(own, [draft_of_task(one) for one in asked], actor=self._actor)
        return [self._task(row) for row in rows]

    def tasks(self, wanted: Wanted) -> Iterator[Task]:
        """Yield tasks; see `AskedWork`."""
        project = self._project(wanted.project)
        found = TaskFilter(
            project_id=project.id if project else "",
            code_name=wanted.code,
            statuses=wanted.statuses,
            label=wanted.label,
            schedule_id=wanted.schedule,
        )
        yield from map(self._task, self._service.tasks.tasks(found, limit=wanted.limit))

    def task(self, task_id: str) -> Task:
        """Return a task; see `AskedWork`."""
        row = self._service.tasks.task(task_id)
        return self._task(row, self._service.tasks.payload(row))

    def output(self, task_id: str, after_no: int) -> tuple[Iterator[str], int]:
        """Return output; see `AskedWork`."""
        row = self._service.tasks.task(task_id)
        last = self._service.log_lines(row.id, limit=1, is_tail=True)
        end_no = last[-1].no if last else after_no
        return self._service.tasks.output(row, after_no=after_no, end_no=end_no), end_no

    def cancel_task(self, task_id: str) -> Task:
        """End a task; see `AskedWork`."""
        return self._task(self._service.tasks.cancel(task_id))

    def retry_task(self, task_id: str, delay_s: float) -> Task:
        """Queue a task anew; see `AskedWork`."""
        return self._task(self._service.tasks.retry(task_id, delay_s=delay_s, actor=self._actor))

    def add_schedule(self, asked: NewSchedule) -> Schedule:
        """Make a schedule; see `AskedWork`."""
        project = self._service.projects.find(asked.project)
        (row,) = self._service.schedules.add(project, [draft_of_schedule(asked)], actor=self._actor)
        return schedule_of(row, project.name)

    def schedules(self, project: str, status: str) -> Iterator[Schedule]:
        """Yield schedules; see `AskedWork`."""
        offset, own = 0, self._project(project)
        while rows := self._service.schedules.schedules(own, limit=PAGE_COUNT, offset=offset, status=status):
            yield from (schedule_of(row, self._name(row.project_id)) for row in rows)
            offset += len(rows)

    def schedule(self, schedule_id: str) -> Schedule:
        """Return a schedule; see `AskedWork`."""
        row = self._service.schedules.schedule(schedule_id)
        return schedule_of(row, self._name(row.project_id))

    def change_schedule(self, schedule_id: str, asked: ChangedSchedule) -> Schedule:
        """Change a schedule; see `AskedWork`."""
        before = self._service.schedules.schedule(schedule_id)
        row = self._service.schedules.update(schedule_id, changes_of(asked, before))
        return schedule_of(row, self._name(row.project_id))

    def cancel_schedule(self, schedule_id: str) -> Schedule:
        """End a schedule; see `AskedWork`."""
        row = self._service.schedules.cancel(schedule_id)
        return schedule_of(row, self._name(row.project_id))

    def _task(self, row: TaskRow, payload: str | None = None) -> Task:
        return task_of(row, self._name(row.project_id), payload)

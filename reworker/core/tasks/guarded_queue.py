"""Tasks as far as somebody with a token may queue, see and end them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from reworker.core.principal import Scope
from reworker.core.service import Service
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.rights import Rights, keep
from reworker.storage.contract import Unit
from reworker.storage.task_rows import CodeRow, ProjectRow, TaskFilter, TaskRow
from reworker.task_errors import ThingNotFound


class GuardedQueue:
    """Tasks; see `Tasks`, whose methods raise `Forbidden` besides."""

    def __init__(self, service: Service, rights: Rights) -> None:
        self._tasks, self._rights = service.tasks, rights

    def queue(self, project: ProjectRow, drafts: Sequence[TaskDraft]) -> list[TaskRow]:
        """Queue tasks, all or none; see `Tasks.queue`."""
        with self._rights.guard.doing("task.queue") as deed:
            self._rights.require(deed, Scope.RUN, project)

            def note(unit: Unit, rows: Sequence[TaskRow]) -> None:
                names = ", ".join(sorted({row.code_name for row in rows}))
                keep(deed, unit, rows[0].id, f"{len(rows)} of {names} in {project.name}")

            return self._tasks.queue(project, drafts, actor=self._rights.who.name, note=note)

    def task(self, task_id: str, project: ProjectRow | None = None) -> TaskRow:
        """Return a task as it stands at this moment; see `Tasks.task`."""
        row = self._tasks.task(task_id, project)
        self._rights.of_project(row, project, "task", task_id)
        return row

    def payload(self, task: TaskRow) -> str:
        """Return the payload of a task that `task` has returned."""
        self._rights.require_seen(self._rights.project(task.project_id))
        return self._tasks.payload(task)

    def tasks(self, wanted: TaskFilter, *, limit: int = 30, offset: int = 0) -> list[TaskRow]:
        """Return tasks that are wanted and may be seen, newest first; see `Tasks.tasks`."""
        project = self._rights.project(wanted.project_id) if wanted.project_id else None

        def fetch(of: ProjectRow | None, count: int, start: int) -> list[TaskRow]:
            narrow = msgspec.structs.replace(wanted, project_id=of.id) if of else wanted
            return self._tasks.tasks(narrow, limit=count, offset=start)

        return self._rights.page(project, limit, offset, fetch)

    def counts(self, wanted: TaskFilter) -> dict[str, int]:
        """Return how many tasks that are wanted and may be seen have each status; see `Tasks.counts`."""
        project = self._rights.project(wanted.project_id) if wanted.project_id else None
        counts: Counter[str] = Counter()
        for one in self._rights.projects_of(project):
            narrow = msgspec.structs.replace(wanted, project_id=one.id) if one else wanted
            counts.update(self._tasks.counts(narrow))
        return dict(counts)

    def output(self, task: TaskRow, *, is_stdout: bool = False) -> Iterator[str]:
        """Yield what a task has written so far; see `Tasks.output`."""
        self._rights.require_seen(self._rights.project(task.project_id))
        return self._tasks.output(task, is_stdout=is_stdout)

    def cancel(self, task_id: str, project: ProjectRow | None = None) -> TaskRow:
        """End a task; see `Tasks.cancel`."""
        with self._rights.guard.doing("task.cancel", task_id) as deed:
            deed.require(Scope.CANCEL)
            row = self._found(task_id, project)
            self._rights.require(deed, Scope.CANCEL, self._rights.project(row.project_id))
            return self._tasks.cancel(
                row.id, note=lambda unit, rows: keep(deed, unit, row.id, _name_of(rows))
            )

    def cancel_all(self, code: CodeRow) -> int:
        """End all tasks of a code that are not over; return how many; see `Tasks.cancel_all`."""
        with self._rights.guard.doing("task.cancel_all", code.id) as deed:
            self._rights.require(deed, Scope.CANCEL, self._rights.project(code.project_id))
            return self._tasks.cancel_all(
                code, note=lambda unit, rows: keep(deed, unit, code.id, f"{len(rows)} of {code.name}")
            )

    def retry(self, task_id: str, project: ProjectRow | None = None, *, delay_s: float = 0.0) -> TaskRow:
        """Queue a task anew; return the new one; see `Tasks.retry`."""
        with self._rights.guard.doing("task.retry", task_id) as deed:
            deed.require(Scope.RUN)
            row = self._found(task_id, project)
            self._rights.require(deed, Scope.RUN, self._rights.project(row.project_id))

            def note(unit: Unit, rows: Sequence[TaskRow]) -> None:
                keep(deed, unit, rows[0].id, f"again {row.id} of {row.code_name}")

            return self._tasks.retry(row.id, delay_s=delay_s, actor=self._rights.who.name, note=note)

    def progress(
        self,
        task_id: str,
        project: ProjectRow | None = None,
        *,
        percent: int | None = None,
        msg: str | None = None,
    ) -> TaskRow:
        """Note how far a task is; see `Tasks.progress`.

        What a task says of itself is part of its work and not in the audit, unless it is refused.
        """
        with self._rights.guard.doing("task.progress", task_id) as deed:
            deed.require((Scope.RUN, Scope.WORKER))
            row = self._found(task_id, project)
            self._rights.require(deed, (Scope.RUN, Scope.WORKER), self._rights.project(row.project_id))

            def note(unit: Unit, rows: Sequence[TaskRow]) -> None:
                if self._rights.who.token_id != row.id:
                    keep(deed, unit, row.id, _name_of(rows))

            return self._tasks.progress(row.id, percent=percent, msg=msg, note=note)

    def _found(self, task_id: str, project: ProjectRow | None) -> TaskRow:
        """Return a task of a project, if one is given.

        Raises:
            ThingNotFound: there is none.
        """
        row = self._tasks.task(task_id, project)
        if project is not None and row.project_id != project.id:
            raise ThingNotFound("task", task_id)
        return row


def _name_of(rows: Sequence[TaskRow]) -> str:
    return rows[0].code_name

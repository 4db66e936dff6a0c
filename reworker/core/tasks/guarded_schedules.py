"""Schedules as far as somebody with a token may make, see and end them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from reworker.core.principal import Scope
from reworker.core.service import Service
from reworker.core.tasks.rights import Rights, keep
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft
from reworker.storage.contract import Unit
from reworker.storage.task_rows import ProjectRow, ScheduleRow


class GuardedSchedules:
    """Schedules; see `Schedules`, whose methods raise `Forbidden` besides."""

    def __init__(self, service: Service, rights: Rights) -> None:
        self._schedules, self._rights = service.schedules, rights

    def add(self, project: ProjectRow, drafts: Sequence[ScheduleDraft]) -> list[ScheduleRow]:
        """Make schedules, all or none; see `Schedules.add`."""
        with self._rights.guard.doing("schedule.add") as deed:
            self._rights.require(deed, Scope.RUN, project)

            def note(unit: Unit, rows: Sequence[ScheduleRow]) -> None:
                names = ", ".join(sorted({row.code_name for row in rows}))
                keep(deed, unit, rows[0].id, f"{len(rows)} of {names} in {project.name}")

            return self._schedules.add(project, drafts, actor=self._rights.who.name, note=note)

    def schedule(self, schedule_id: str, project: ProjectRow | None = None) -> ScheduleRow:
        """Return a schedule; see `Schedules.schedule`."""
        row = self._schedules.schedule(schedule_id, project)
        self._rights.of_project(row, project, "schedule", schedule_id)
        return row

    def schedules(
        self, project: ProjectRow | None, *, limit: int = 30, offset: int = 0, status: str = ""
    ) -> list[ScheduleRow]:
        """Return schedules that may be seen, newest first; see `Schedules.schedules`."""

        def fetch(of: ProjectRow | None, count: int, start: int) -> list[ScheduleRow]:
            return self._schedules.schedules(of, limit=count, offset=start, status=status)

        return self._rights.page(project, limit, offset, fetch)

    def counts(self, project: ProjectRow | None) -> dict[str, int]:
        """Return how many schedules of a project, or of all that may be seen, have each status."""
        counts: Counter[str] = Counter()
        for one in self._rights.projects_of(project):
            counts.update(self._schedules.counts(one))
        return dict(counts)

    def update(
        self, schedule_id: str, changes: ScheduleChanges, project: ProjectRow | None = None
    ) -> ScheduleRow:
        """Change a schedule that is not over; return it as it is then; see `Schedules.update`."""
        with self._rights.guard.doing("schedule.update", schedule_id) as deed:
            deed.require(Scope.RUN)
            row = self._schedules.schedule(schedule_id, project)
            self._rights.require(deed, Scope.RUN, self._rights.project(row.project_id))
            return self._schedules.update(
                row.id, changes, note=lambda unit, rows: keep(deed, unit, row.id, rows[0].code_name)
            )

    def cancel(self, schedule_id: str, project: ProjectRow | None = None) -> ScheduleRow:
        """Make no more tasks of a schedule; see `Schedules.cancel`."""
        with self._rights.guard.doing("schedule.cancel", schedule_id) as deed:
            scopes = (Scope.RUN, Scope.CANCEL)
            deed.require(scopes)
            row = self._schedules.schedule(schedule_id, project)
            self._rights.require(deed, scopes, self._rights.project(row.project_id))
            return self._schedules.cancel(
                row.id, note=lambda unit, rows: keep(deed, unit, row.id, rows[0].code_name)
            )

"""Schedules: made, changed, cancelled; and the tasks that they make when their time has come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from reworker.clock import Clock
from reworker.core.tasks.codes import Codes
from reworker.core.tasks.firing import LATE_S, ScheduleStatus, cancelled, fired, set_back, settled
from reworker.core.tasks.queueing import Tasks
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft, changed, made, task_draft
from reworker.ids import is_id, new_id
from reworker.storage.contract import Storage, Unit
from reworker.storage.task_rows import CodeRow, ProjectRow, ScheduleRow, TaskRow
from reworker.task_errors import TaskRefused, ThingNotFound

logger = logging.getLogger(__name__)

#: schedules of one request at most.
MOST_SCHEDULES = 1000
#: schedules that fire in one transaction at most: replies wait for it.
FIRE_COUNT = 250

#: done in the transaction that changes schedules.
Note = Callable[[Unit, Sequence[ScheduleRow]], None]


def _nothing(_unit: Unit, _rows: Sequence[ScheduleRow]) -> None:
    return None


class Schedules:
    """Schedules of all projects; any thread, any process. `fire` is for one thread of each core.

    Args:
        tasks: makes the rows of tasks.
        wake: tells a core in this process that something may come due sooner.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        codes: Codes,
        tasks: Tasks,
        *,
        wake: Callable[[], None],
    ) -> None:
        self._storage, self._clock, self._codes, self._tasks = storage, clock, codes, tasks
        self._wake = wake
        self._seen_at: datetime | None = None

    def add(
        self, project: ProjectRow, drafts: Sequence[ScheduleDraft], *, actor: str = "", note: Note = _nothing
    ) -> list[ScheduleRow]:
        """Make schedules, all or none; return them in the order of the drafts.

        Raises:
            ThingNotFound: there is no such code.
            TaskRefused: a value is wrong.
        """
        if not drafts or len(drafts) > MOST_SCHEDULES:
            raise TaskRefused(f"give 1 to {MOST_SCHEDULES} schedules", field="schedules")
        for name in {one.code_name for one in drafts}:
            self._codes.named(project, name)
        now = self._clock.now()
        ids = sorted(new_id(now) for _ in drafts)
        rows = [
            made(one, now, own_id=own_id, project_id=project.id, actor=actor)
            for one, own_id in zip(drafts, ids, strict=True)
        ]
        with self._storage.begin() as unit:
            unit.add_schedules(rows)
            note(unit, rows)
        self._wake()
        return rows

    def schedule(self, schedule_id: str, project: ProjectRow | None = None) -> ScheduleRow:
        """Return a schedule, of a project if one is given.

        Raises:
            ThingNotFound: there is none.
        """
        row = self._storage.reader.schedule(schedule_id) if is_id(schedule_id) else None
        if row is None or (project and row.project_id != project.id):
            raise ThingNotFound("schedule", schedule_id)
        return row

    def schedules(
        self, project: ProjectRow | None, *, limit: int = 30, offset: int = 0, status: str = ""
    ) -> list[ScheduleRow]:
        """Return schedules, newest first; of all projects without one, in all statuses without one."""
        own_id = project.id if project else ""
        return self._storage.reader.schedules(own_id, limit=limit, offset=offset, status=status)

    def counts(self, project: ProjectRow | None) -> dict[str, int]:
        """Return how many schedules of a project, or of all, have each status."""
        return self._storage.reader.schedule_counts(project.id if project else "")

    def update(self, schedule_id: str, changes: ScheduleChanges, *, note: Note = _nothing) -> ScheduleRow:
        """Change a schedule that is not over; return it as it is then.

        Raises:
            ThingNotFound: there is none, or no such code.
            TaskRefused: a value is wrong, or the schedule is over.
        """
        with self._storage.begin() as unit:
            row = self._locked(unit, schedule_id)
            row = changed(row, changes, self._clock.now())
            if self._storage.reader.code_named(row.project_id, row.code_name) is None:
                raise ThingNotFound("code", row.code_name)
            unit.save_schedules([row])
            note(unit, [row])
        self._wake()
        return row

    def cancel(self, schedule_id: str, *, note: Note = _nothing) -> ScheduleRow:
        """Make no more tasks of a schedule; one that is over stays as it is. Its tasks go on.

        Raises:
            ThingNotFound: there is none.
        """
        with self._storage.begin() as unit:
            row = self._locked(unit, schedule_id)
            if row.status == ScheduleStatus.SCHEDULED:
                row = cancelled(row, self._clock.now())
                unit.save_schedules([row])
            note(unit, [row])
        return row

    def fire(self) -> int:
        """Make the tasks of schedules that are due; return how many schedules were, at most so many at once.

        A schedule is moved on in the transaction in which its tasks are made, while it is locked: each
        moment comes once, whatever dies, and however many cores look.
        """
        now = self._clock.now()
        self._follow_clock(now)
        if not self._storage.reader.has_due_schedules(now):
            return 0
        with self._storage.begin() as unit:
            rows = unit.due_schedules(now, FIRE_COUNT)
            codes = {key: self._code(*key) for key in {(row.project_id, row.code_name) for row in rows}}
            moved, tasks, payloads = [], [], []
            for row in rows:
                after, own = self._fired(row, codes[row.project_id, row.code_name], now)
                moved.append(after)
                tasks += own
                payloads += [row.payload] * len(own)
            unit.save_schedules(moved)
            unit.add_tasks(tasks, payloads)
        return len(rows)

    def _code(self, project_id: str, name: str) -> CodeRow | None:
        return self._storage.reader.code_named(project_id, name)

    def _fired(
        self, row: ScheduleRow, code: CodeRow | None, now: datetime
    ) -> tuple[ScheduleRow, list[TaskRow]]:
        """Return a schedule as it stands after its turn, and the tasks that it makes."""
        try:
            if code is None:
                raise TaskRefused(f"its code {row.code_name[:100]!a} was deleted")
            after, task_count = fired(row, now)
            return after, [self._tasks.new_row(code, task_draft(row), row.actor) for _ in range(task_count)]
        except TaskRefused as error:  # else it would be due again and again
            logger.warning("schedule %s ends: %s", row.id, error)
            return cancelled(row, now, f"Ended: {error}."), []

    def _follow_clock(self, now: datetime) -> None:
        """Let schedules that fired in a future that was none go on from now, after a start or a jump back.

        Without this, a clock that once was a year ahead would leave them silent for a year.
        """
        before, self._seen_at = self._seen_at, now
        late = timedelta(seconds=LATE_S)
        if before is not None and now > before - late:
            return
        with self._storage.begin() as unit:
            rows = unit.schedules_ahead(now + late)
            unit.save_schedules([settled(set_back(row, now)) for row in rows])
        if rows:
            logger.warning("the clock was put back; %d schedules go on from now", len(rows))

    @staticmethod
    def _locked(unit: Unit, schedule_id: str) -> ScheduleRow:
        row = unit.lock_schedule(schedule_id) if is_id(schedule_id) else None
        if row is None:
            raise ThingNotFound("schedule", schedule_id)
        return row

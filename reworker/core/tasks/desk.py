"""The core's thread for tasks: fires schedules, starts what waits, notes what runs and what has ended.

The database is the only truth here, too: a desk that dies is followed by its next life, or by another
core's, which finds the same rows. A task and its deployment are written in one transaction, and so are the
end of a task and what follows from it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Protocol

import msgspec

from reworker.clock import Clock
from reworker.core.batch import Batch
from reworker.core.counters import Counters
from reworker.core.memory import Memory
from reworker.core.submission import Origin, new_row
from reworker.core.tasks import results
from reworker.core.tasks.code_queues import CodeQueues
from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.options import CodeOptions, decoded
from reworker.core.tasks.outcomes import TaskStatus, ended, running
from reworker.core.tasks.plans import task_plan
from reworker.errors import BusError, StaleVersion, StorageUnavailable
from reworker.fsm.events import Submitted
from reworker.ids import new_id
from reworker.storage.contract import EventRow, SourceRow, Storage, Unit
from reworker.storage.task_rows import CodeLoad, CodeRow, ProjectRow, RevisionRow, TaskRow

logger = logging.getLogger(__name__)

#: tasks of one code that are started and have not ended at most; the others wait in the database, where
#: one of a higher priority passes them.
WINDOW_COUNT = 100
#: transactions of schedules in one round at most.
FIRING_COUNT = 10
#: tasks in one transaction at most.
BATCH_COUNT = 50
#: seconds for which a task whose worker was lost keeps its place among those that its code may have at once:
#: that worker may be at it until it hears that the task is over.
LOST_S = 5.0
#: seconds between two looks while tasks run, which other cores may end, and when none does.
BUSY_LOOK_S, IDLE_LOOK_S = 0.5, 5.0
#: seconds until the next try when the database or the broker is away.
RETRY_S = 1.0
#: revisions and projects that are remembered.
REMEMBERED_COUNT = 1000


class Firing(Protocol):
    """Makes tasks of schedules that are due."""

    def fire(self) -> int:
        """Make them, in a transaction; return how many schedules were due, at most so many at once."""
        ...


class TaskDesk:
    """Works on a thread of its own until `stop`; `turn` does one round and may be called by tests.

    Args:
        queues: of the codes, on the broker.
        wake: tells the core's loop that messages wait.
        firing: makes tasks of schedules.
        token_of: what lets the process of a task ask us; see `task_tokens`.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        counters: Counters,
        *,
        queues: CodeQueues,
        wake: Callable[[], None],
        firing: Firing,
        token_of: Callable[[str], str] = lambda task_id: "",
    ) -> None:
        self._storage, self._clock, self._counters = storage, clock, counters
        self._queues, self._wake_loop, self._firing = queues, wake, firing
        self._token_of = token_of
        self._revisions: dict[str, RevisionRow] = {}
        self._projects: dict[str, ProjectRow] = {}
        self._active: set[str] = set()
        self._is_informed = False
        self._kept_count = 0
        self._woken = threading.Event()
        self._stopping = self._is_blocked = False

    def run(self) -> None:
        """Work until `stop`; the body of the thread."""
        wait_s = 0.0
        while True:
            self._woken.wait(wait_s)
            self._woken.clear()
            if self._stopping:
                return
            try:
                wait_s = 0.0 if self.turn() else self._rest_s()
            except (StorageUnavailable, StaleVersion) as error:
                logger.info("tasks wait: %s", error)
                wait_s = RETRY_S
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("tasks met an error of our own; they go on")
                wait_s = RETRY_S

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping = True
        self._woken.set()

    def wake(self) -> None:
        """Look now: something was queued, or has come due. Any thread."""
        self._woken.set()

    def note(self, events: Sequence[EventRow]) -> None:
        """Take note of what the core's loop has just stored. Any thread, returns at once."""
        if any(one.deployment_id in self._active and one.ignored is None for one in events):
            self._woken.set()

    def turn(self) -> bool:
        """Do one round; return whether there may be more to do at once."""
        if not self._is_informed:
            self._active.update(self._storage.reader.active_ids())
            self._is_informed = True
        self._is_blocked = False
        done_count = self._fire()
        work = self._storage.reader.task_work(self._clock.now())
        if work.has_ended:
            done_count += self._end()
        if work.has_started:
            done_count += self._note_started()
        if work.has_waiting or work.has_ended:
            done_count += self._start()
        self._queues.retire()
        return done_count > 0

    def _fire(self) -> int:
        """Make the tasks of schedules first: to start tasks takes longer, and can wait."""
        counts = (self._firing.fire() for _ in range(FIRING_COUNT))
        return sum(takewhile(bool, counts))

    def _rest_s(self) -> float:
        now = self._clock.now()
        next_at = self._storage.reader.next_task_at(now)
        if self._is_blocked:
            return RETRY_S
        rest_s = BUSY_LOOK_S if self._active else IDLE_LOOK_S
        return rest_s if next_at is None else min(rest_s, max((next_at - now).total_seconds(), 0.0))

    def _end(self) -> int:
        """Write down how tasks have ended, and what follows from it; return how many."""
        now = self._clock.now()
        with self._storage.begin() as unit:
            rows = unit.ended_tasks(BATCH_COUNT + self._kept_count)
            codes = unit.lock_codes({row.code_id for row in rows})
            deployments = unit.deployments({row.id for row in rows})
            attempts = unit.last_attempts({row.id for row in rows})
            found = [ended(row, deployments[row.id], attempts.get(row.id), now) for row in rows]
            done = [row for row in found if not _keeps_place(row, codes[row.code_id], now)]
            for row in done:
                self._settle(unit, row, codes[row.code_id])
        self._kept_count = len(rows) - len(done)
        if done:
            self._active.difference_update(row.id for row in done)
            self._counters.add("tasks_ended", len(done))
            self._wake_loop()
        return len(done)

    def _settle(self, unit: Unit, task: TaskRow, code: CodeRow) -> None:
        options = decoded_options(code)
        is_again = task.status == TaskStatus.ERROR and task.retry_no < options.retries
        if is_again and code.archived_at is None:
            again = self._again(task, options.retries_delay_s)
            unit.add_tasks([again], [unit.payloads([task.id]).get(task.id, "")])
            task = msgspec.structs.replace(task, retry_task_id=again.id)
        unit.save_tasks([task])
        results.send(unit, task, options, self._clock.now())

    def _again(self, task: TaskRow, delay_s: float) -> TaskRow:
        """Return the task that tries one again, of the same revision."""
        now = self._clock.now()
        return msgspec.structs.replace(
            task,
            id=new_id(now),
            status=TaskStatus.QUEUED,
            phase="waiting",
            due_at=now + timedelta(seconds=delay_s),
            delay_s=delay_s,
            original_id=task.original_id or task.id,
            retry_no=task.retry_no + 1,
            retry_task_id="",
            percent=0,
            msg="",
            created_at=now,
            updated_at=now,
            start_at=None,
            end_at=None,
        )

    def _note_started(self) -> int:
        """Write down which tasks run, also those whose reply another core has taken in; return how many."""
        with self._storage.begin() as unit:
            rows = [running(row, at) for row, at in unit.started_tasks(BATCH_COUNT)]
            unit.save_tasks(rows)
        return len(rows)

    def _start(self) -> int:
        """Make the deployments of tasks that are due, as many as may be; return how many."""
        started_count = 0
        for load in self._storage.reader.waiting_codes(self._clock.now()):
            try:
                started_count += self._start_some(load)
            except BusError as error:  # the queue of one code must not hold up the others
                self._is_blocked = True
                logger.warning("tasks of code %s wait for their queue: %s", load.code_id, error)
        return started_count

    def _start_some(self, load: CodeLoad) -> int:
        code_id = load.code_id
        if load.active_count >= _most_count(decoded(CodeOptions, load.options)):
            return 0
        self._queues.require(code_id)
        with self._storage.begin() as unit:
            code = unit.lock_codes([code_id])[code_id]
            # Others may have started some since, or paused it: what counts is what is found under the lock.
            room_count = _most_count(decoded_options(code)) - unit.active_count(code_id)
            if code.is_paused or room_count <= 0:
                return 0
            rows = unit.ready_tasks(code_id, self._clock.now(), min(room_count, BATCH_COUNT))
            if not rows:
                return 0
            self._create(unit, code, rows)
        self._active.update(row.id for row in rows)
        self._counters.add("tasks_started", len(rows))
        self._wake_loop()
        return len(rows)

    def _create(self, unit: Unit, code: CodeRow, rows: Sequence[TaskRow]) -> None:
        now, batch = self._clock.now(), Batch(unit, Memory())
        payloads = unit.payloads([row.id for row in rows])
        for row in rows:
            plan = task_plan(
                self._project(row.project_id),
                code,
                self._revision(row.revision_id),
                row,
                payloads.get(row.id, ""),
                self._token_of(row.id),
            )
            deployment = new_row(row.id, plan, Origin(actor=row.actor, is_unattended=True), now)
            deployment = msgspec.structs.replace(deployment, is_task=True)
            batch.create(deployment, plan, Submitted(at=now, actor=row.actor, unattended=True))
            batch.changes.sources.append(SourceRow(row.id, None))
        unit.save_tasks([msgspec.structs.replace(row, phase="active", updated_at=now) for row in rows])
        batch.save()

    def _revision(self, revision_id: str) -> RevisionRow:
        if revision_id not in self._revisions:
            if len(self._revisions) >= REMEMBERED_COUNT:
                self._revisions.clear()
            found = self._storage.reader.revision(revision_id)
            assert found is not None, "revisions are never deleted"
            self._revisions[revision_id] = found
        return self._revisions[revision_id]

    def _project(self, project_id: str) -> ProjectRow:
        if project_id not in self._projects:
            if len(self._projects) >= REMEMBERED_COUNT:
                self._projects.clear()
            found = self._storage.reader.project(project_id)
            assert found is not None, "projects are never deleted"
            self._projects[project_id] = found
        return self._projects[project_id]


def _most_count(options: CodeOptions) -> int:
    """Return how many tasks of a code are active at most."""
    return options.max_concurrency or WINDOW_COUNT


def _keeps_place(task: TaskRow, code: CodeRow, now: datetime) -> bool:
    """Tell whether something may still run of a task that is over."""
    if task.status != TaskStatus.KILLED or task.end_at is None or not decoded_options(code).max_concurrency:
        return False
    return (now - task.end_at).total_seconds() < LOST_S

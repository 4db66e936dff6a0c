"""The tasks of code packages: queued, cancelled, tried again, looked at. The desk of a core starts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

import msgspec

from reworker.clock import Clock
from reworker.core.batch import Result
from reworker.core.recorder import LogLine, lines_of
from reworker.core.tasks.codes import Codes, decoded_options
from reworker.core.tasks.options import (
    MOST_DELAY_S,
    MOST_TIMEOUT_S,
    PAYLOAD_BYTES,
    PRIORITIES,
    TIMEOUT_S,
    TaskOptions,
    encoded,
    require_result_places,
    utf8,
)
from reworker.core.tasks.outcomes import TaskStatus, live
from reworker.ids import is_id, new_id
from reworker.storage.contract import LogStore, Storage, Unit
from reworker.storage.task_rows import CodeRow, ProjectRow, TaskFilter, TaskRow
from reworker.task_errors import TaskRefused, ThingNotFound

#: tasks of one request at most.
MOST_TASKS = 1000
#: characters of a progress message that are kept, and of a label.
MSG_CHARACTERS, LABEL_CHARACTERS = 64 << 10, 1000
_CHUNK_COUNT = 1000

#: done in the transaction that changes tasks.
Note = Callable[[Unit, Sequence[TaskRow]], None]
Cancel = Callable[[str], Result]


def _nothing(_unit: Unit, _rows: Sequence[TaskRow]) -> None:
    return None


class TaskDraft(msgspec.Struct, frozen=True):
    """A task as it is asked for; None is the default of its code, or ours.

    Args:
        code_name: of a code of the same project.
        payload: text for the process; usually JSON.
        priority: 0, 1 or 2; a higher one is started first.
        delay_s: before which it is not started.
        timeout_s: that it may run.
    """

    code_name: str
    payload: str = ""
    priority: int | None = None
    delay_s: float = 0.0
    timeout_s: float | None = None
    label: str = ""
    cluster: str = ""
    schedule_id: str = ""
    options: TaskOptions = TaskOptions()


class Tasks:
    """Tasks of all projects; any thread, any process.

    Args:
        storage: the database.
        logs: output of their processes.
        codes: that they run.
        wake: tells a core in this process that something is to be started.
        cancel: asks for the end of a deployment.
    """

    def __init__(
        self,
        storage: Storage,
        logs: LogStore,
        clock: Clock,
        codes: Codes,
        *,
        wake: Callable[[], None],
        cancel: Cancel,
    ) -> None:
        self._storage, self._logs, self._clock, self._codes = storage, logs, clock, codes
        self._wake, self._cancel_deployment = wake, cancel

    def queue(
        self, project: ProjectRow, drafts: Sequence[TaskDraft], *, actor: str = "", note: Note = _nothing
    ) -> list[TaskRow]:
        """Queue tasks, all or none; return them in the order of the drafts.

        Raises:
            ThingNotFound: there is no such code.
            TaskRefused: a value is wrong.
        """
        if not drafts or len(drafts) > MOST_TASKS:
            raise TaskRefused(f"give 1 to {MOST_TASKS} tasks", field="tasks")
        codes = {name: self._codes.named(project, name) for name in {one.code_name for one in drafts}}
        rows = self._in_order([self.new_row(codes[one.code_name], one, actor) for one in drafts])
        with self._storage.begin() as unit:
            unit.add_tasks(rows, [one.payload for one in drafts])
            note(unit, rows)
        self._wake()
        return rows

    @staticmethod
    def _in_order(rows: list[TaskRow]) -> list[TaskRow]:
        """Return rows with ids that grow: what was asked for first is to be started first."""
        ids = sorted(row.id for row in rows)
        return [msgspec.structs.replace(row, id=own) for row, own in zip(rows, ids, strict=True)]

    def new_row(self, code: CodeRow, draft: TaskDraft, actor: str = "") -> TaskRow:
        """Return the row of a task that is not stored yet.

        Raises:
            TaskRefused: a value is wrong.
        """
        require_valid(draft)
        now, default = self._clock.now(), decoded_options(code).default_priority
        return TaskRow(
            id=new_id(now),
            project_id=code.project_id,
            code_id=code.id,
            code_name=code.name,
            revision_id=code.revision_id,
            rev=code.rev,
            status=TaskStatus.QUEUED,
            phase="waiting",
            priority=default if draft.priority is None else draft.priority,
            due_at=now + timedelta(seconds=draft.delay_s),
            delay_s=draft.delay_s,
            timeout_s=TIMEOUT_S if draft.timeout_s is None else draft.timeout_s,
            label=draft.label,
            cluster=draft.cluster,
            schedule_id=draft.schedule_id,
            original_id="",
            retry_no=0,
            retry_task_id="",
            percent=0,
            msg="",
            options=encoded(draft.options),
            actor=actor,
            created_at=now,
            updated_at=now,
        )

    def task(self, task_id: str, project: ProjectRow | None = None) -> TaskRow:
        """Return a task as it stands at this moment, of a project if one is given.

        Raises:
            ThingNotFound: there is none.
        """
        row = self._storage.reader.task(task_id) if is_id(task_id) else None
        if row is None or (project and row.project_id != project.id):
            raise ThingNotFound("task", task_id)
        return live(self._storage.reader, row)

    def payload(self, task: TaskRow) -> str:
        """Return the payload of a task."""
        return self._storage.reader.payload(task.id)

    def tasks(self, wanted: TaskFilter, *, limit: int = 30, offset: int = 0) -> list[TaskRow]:
        """Return tasks that are wanted, newest first."""
        return self._storage.reader.tasks(wanted, limit=limit, offset=offset)

    def counts(self, wanted: TaskFilter) -> dict[str, int]:
        """Return how many tasks that are wanted have each status."""
        return self._storage.reader.task_counts(wanted)

    def output(
        self, task: TaskRow, *, is_stdout: bool = False, after_no: int = 0, end_no: int | None = None
    ) -> Iterator[str]:
        """Yield what a task has written so far, in pieces: both streams as they came, or stdout alone.

        Args:
            task: that wrote it.
            is_stdout: only its standard output.
            after_no: behind the line of this number.
            end_no: up to the line of this number; None is all that there is.
        """
        for line in self._lines(task.id, after_no):
            if end_no is not None and line.no > end_no:
                return
            # what stands there beside the process's own words is about a limit that was reached
            is_own = line.stream.startswith("out") if is_stdout else line.stream or not line.attempt
            if is_own:
                yield line.text if line.stream.endswith("-") else line.text + "\n"

    def _lines(self, task_id: str, after_no: int) -> Iterator[LogLine]:
        while chunks := self._logs.lines(task_id, after_no=after_no, limit=_CHUNK_COUNT):
            for line in (one for chunk in chunks for one in lines_of(chunk)):
                if line.no > after_no:
                    after_no = line.no
                    yield line

    def cancel(self, task_id: str, *, note: Note = _nothing) -> TaskRow:
        """End a task: one that waits at once, one that runs as soon as its worker hears of it.

        Raises:
            ThingNotFound: there is none.
        """
        with self._storage.begin() as unit:
            row = self._locked(unit, task_id)
            if row.phase == "waiting":
                row = self._cancelled(row)
                unit.save_tasks([row])
            note(unit, [row])
        if row.phase == "active":
            self._end([row.id])
            row = self.task(row.id)
        return row

    def cancel_all(self, code: CodeRow, *, note: Note = _nothing) -> int:
        """End all tasks of a code that are not over; return how many."""
        with self._storage.begin() as unit:
            found = list(unit.lock_tasks(unit.open_ids(code.id)).values())
            rows = [row for row in found if row.status != TaskStatus.CANCELLED]
            unit.save_tasks([self._cancelled(row) for row in rows if row.phase == "waiting"])
            note(unit, rows)
        self._end([row.id for row in rows if row.phase == "active"])
        return len(rows)

    def _end(self, ids: Sequence[str]) -> None:
        """Ask for the end of tasks that run, then show them as cancelled.

        In this order: whatever dies in between, what was shown as cancelled is going to be.
        """
        if not ids:
            return
        for own_id in ids:
            self._cancel_deployment(own_id)
        with self._storage.begin() as unit:
            found = unit.lock_tasks(ids)
            unit.save_tasks([self._cancelled(row) for row in found.values() if row.phase == "active"])

    def _cancelled(self, row: TaskRow) -> TaskRow:
        now = self._clock.now()
        is_waiting = row.phase == "waiting"
        return msgspec.structs.replace(
            row,
            status=TaskStatus.CANCELLED,
            phase="over" if is_waiting else row.phase,
            end_at=now if is_waiting else None,
            updated_at=now,
        )

    def retry(self, task_id: str, *, delay_s: float = 0.0, actor: str = "", note: Note = _nothing) -> TaskRow:
        """Queue a task anew, with the newest revision of its code; return the new one.

        Raises:
            ThingNotFound: there is no such task, or its code was deleted.
        """
        old = self.task(task_id)
        payload, code = self.payload(old), self._codes.code(old.code_id)
        fresh = TaskDraft(code.name, payload, old.priority, delay_s, old.timeout_s, old.label, old.cluster)
        row = msgspec.structs.replace(self.new_row(code, fresh, actor), options=old.options)
        with self._storage.begin() as unit:
            unit.add_tasks([row], [payload])
            note(unit, [row])
        self._wake()
        return row

    def progress(
        self, task_id: str, *, percent: int | None = None, msg: str | None = None, note: Note = _nothing
    ) -> TaskRow:
        """Note how far a task is, in any state.

        Raises:
            ThingNotFound: there is none.
            TaskRefused: no percentage.
        """
        if percent is not None and not 0 <= percent <= 100:
            raise TaskRefused("0 to 100", field="percent")
        utf8(msg or "", "msg")
        with self._storage.begin() as unit:
            row = self._locked(unit, task_id)
            row = msgspec.structs.replace(
                row,
                percent=row.percent if percent is None else percent,
                msg=row.msg if msg is None else msg[:MSG_CHARACTERS],
                updated_at=self._clock.now(),
            )
            unit.save_tasks([row])
            note(unit, [row])
        return row

    @staticmethod
    def _locked(unit: Unit, task_id: str) -> TaskRow:
        row = unit.lock_tasks([task_id]).get(task_id) if is_id(task_id) else None
        if row is None:
            raise ThingNotFound("task", task_id)
        return row


def require_valid(draft: TaskDraft) -> None:
    """Let a draft pass whose values can be.

    Raises:
        TaskRefused: names the value.
    """
    if len(utf8(draft.payload, "payload")) > PAYLOAD_BYTES:
        raise TaskRefused(f"has more than {PAYLOAD_BYTES} bytes", field="payload")
    if draft.priority is not None and draft.priority not in PRIORITIES:
        raise TaskRefused("0, 1 or 2", field="priority")
    if not 0 <= draft.delay_s <= MOST_DELAY_S:
        raise TaskRefused(f"0 to {MOST_DELAY_S:g} seconds", field="delay")
    if draft.timeout_s is not None and not 0 < draft.timeout_s <= MOST_TIMEOUT_S:
        raise TaskRefused(f"more than 0, at most {MOST_TIMEOUT_S:g} seconds", field="timeout")
    require_result_places(draft.options)
    for name, value in _texts(draft):
        utf8(value, name)
        if len(value) > LABEL_CHARACTERS:
            raise TaskRefused(f"has more than {LABEL_CHARACTERS} characters", field=name)


def _texts(draft: TaskDraft) -> Iterable[tuple[str, str]]:
    return (("label", draft.label), ("cluster", draft.cluster), ("name", draft.options.name))

"""Whether what the database says of tasks is true: held against what their processes said themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from reworker.bus.inspection import queue_counts
from reworker.config import mq_settings
from reworker.core.tasks.outcomes import FINAL
from reworker.storage.task_rows import TaskRow
from reworker.topology.code_queues import code_queue
from tests.support.code_marks import Life
from tests.support.code_siege import KINDS, LINE_COUNT, MAX_CONCURRENCY, RETRY_COUNT, CodeSiege

#: for which a process may outlive what is said of its task: its worker's pause before it is connected again,
#: its next word to the core, and the answer to that.
SLACK = timedelta(seconds=8)


def problems(siege: CodeSiege) -> list[str]:
    """Return everything that is wrong; all should be over by now, and the workers stopped."""
    rows = siege.rows()
    lives: dict[str, list[Life]] = defaultdict(list)
    for life in siege.marks.lives:
        lives[life.task_id].append(life)
    found = [
        f"{row.code_name} {row.id} {row.status} ({row.msg}): {text}; it ended at {row.end_at}, "
        f"to be cancelled at {siege.cancelled_at.get(row.id)}; {lives[row.id]}"
        for row in rows
        for check in (_of_status, _of_end, _of_times)
        for text in check(siege, row, lives[row.id])
    ]
    found += [f"{stranger} ran, but is no task" for stranger in lives.keys() - {row.id for row in rows}]
    found += [*_of_retries(rows), *_of_deployments(siege, rows), *_left(siege)]
    if siege.marks.most["Narrow"] > MAX_CONCURRENCY:
        found.append(f"{siege.marks.most['Narrow']} tasks of a code ran at once")
    return found


def losses(siege: CodeSiege) -> Counter[str]:
    """Return how many tasks were lost, by how far they had come and what is said of it."""
    begun = {life.task_id: "ended" if life.ended_at else "begun" for life in siege.marks.lives}
    return Counter(
        f"{begun.get(row.id, 'unbegun')}: {row.msg}" for row in siege.rows() if row.status == "killed"
    )


def _of_status(siege: CodeSiege, row: TaskRow, lives: list[Life]) -> Iterator[str]:
    if row.phase != "over" or row.status not in FINAL or row.end_at is None:
        yield f"it is {row.phase}"
    if len(lives) > 1:
        yield f"it ran {len(lives)} times"
    if row.status == "complete":
        if (
            not any(one.ended_at for one in lives)
            or KINDS[row.code_name].exit_code
            or row.code_name == "Slow"
        ):
            yield "it is not"
        yield from _of_log(siege, row)


def _of_end(siege: CodeSiege, row: TaskRow, lives: list[Life]) -> Iterator[str]:
    has_begun, has_ended = bool(lives), any(one.ended_at for one in lives)
    exit_code = KINDS[row.code_name].exit_code
    if row.status == "error" and (not has_ended or not exit_code or row.msg != f"exit code {exit_code}"):
        yield "it is no error"
    if row.status == "timeout" and (not has_begun or has_ended or row.code_name != "Slow"):
        yield "it had time"
    if row.status == "cancelled":
        asked_at = siege.cancelled_at.get(row.id)
        if asked_at is None:
            yield "nobody has cancelled it"
        elif row.end_at is not None and asked_at > row.end_at + SLACK:
            yield "it was over before"
    if row.status == "killed" and not _is_loss(row, has_begun=has_begun):
        yield "it was not"


def _is_loss(row: TaskRow, *, has_begun: bool) -> bool:
    """Tell whether a strike can have done it, and the message says which."""
    if "lost" in row.msg:
        return True
    return not has_begun and "the broker did not confirm the step message" in row.msg


def _of_times(_siege: CodeSiege, row: TaskRow, lives: list[Life]) -> Iterator[str]:
    for life in lives:
        if life.gone_at is None:
            yield "it still runs"
        elif row.end_at is not None and life.gone_at > row.end_at + SLACK:
            yield f"it ran on for {life.gone_at - row.end_at}"
        elif row.end_at is not None and life.ended_at and life.begun_at > row.end_at + SLACK:
            yield "it began after its end"


def _of_log(siege: CodeSiege, row: TaskRow) -> Iterator[str]:
    wanted = "".join(f"line {number} of {row.id}\n" for number in range(1, LINE_COUNT + 1))
    found = "".join(siege.service.tasks.output(row))
    if found != wanted:
        yield f"its log has {found.count(chr(10))} lines: {found[:300]!r}"


def _of_retries(rows: list[TaskRow]) -> Iterator[str]:
    """A task that ended in error, and no other, was tried again, by one task, as often as its code says."""
    by_id = {row.id: row for row in rows}
    parents = Counter(row.retry_task_id for row in rows if row.retry_task_id)
    for row in rows:
        may_try = row.status == "error" and row.retry_no < RETRY_COUNT
        if may_try != bool(row.retry_task_id):
            yield f"{row.id} {row.status}, retry {row.retry_no}, is tried again by {row.retry_task_id!r}"
        if row.retry_task_id:
            child = by_id.get(row.retry_task_id)
            is_linked = child and child.original_id == (row.original_id or row.id)
            if child is None or not is_linked or child.retry_no != row.retry_no + 1:
                yield f"{row.id} is tried again by {child}"
        if parents[row.id] != (1 if row.retry_no else 0):
            yield f"{row.id}, retry {row.retry_no}, tries {parents[row.id]} tasks again"


def _of_deployments(siege: CodeSiege, rows: list[TaskRow]) -> Iterator[str]:
    """Each deployment has its task; each task that was started has its deployment, and that has ended."""
    deployments = {}
    before_id = ""
    while page := siege.storage.reader.deployments(limit=200, before_id=before_id):
        deployments |= {one.id: one for one in page}
        before_id = page[-1].id
    ids = {row.id for row in rows}
    yield from (f"deployment {one} has no task" for one in deployments.keys() - ids)
    begun = {row.id for row in rows if row.status != "cancelled"}
    yield from (f"task {one} has no deployment" for one in begun - deployments.keys())
    yield from (f"deployment {one.id} is {one.status}" for one in deployments.values() if not one.ended_at)


def _left(siege: CodeSiege) -> Iterator[str]:
    """What is left in queues, in folders, and of processes."""
    queues = [code_queue(code.id) for code in siege.codes.values()]
    for name, counts in queue_counts(mq_settings(siege.url), queues).items():
        if counts.message_count:
            yield f"{counts.message_count} messages are left in {name}"
    yield from (f"{one} is left with {list(one.rglob('*'))}" for one in (siege.top / "work").glob("*slot-*"))
    yield from (f"process {one} is left" for one in _processes(str(siege.top / "work")))


def _processes(words: str) -> Iterator[str]:
    """Yield those that have words in their arguments or their environment, as all processes of tasks have."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (place / "cmdline").read_bytes()
            if words.encode() in arguments + (place / "environ").read_bytes():
                yield f"{place.name} {arguments!r}"

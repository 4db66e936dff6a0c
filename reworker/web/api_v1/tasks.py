"""Tasks: queue many at once, list, count, get, and what they have written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Scope
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.outcomes import TaskStatus
from reworker.core.tasks.queueing import MOST_TASKS
from reworker.core.tasks.requests import NewTasks, draft_of_task
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.views import Task, task_of
from reworker.storage.task_rows import TaskFilter, TaskRow
from reworker.web.api_v1.deployments import Time
from reworker.web.api_v1.history import Number
from reworker.web.api_v1.paging import PAGE_COUNT, Cursor, Limit, page_from, place_of
from reworker.web.api_v1.serving import tasks_of
from reworker.web.operations import Call, Operation

#: bytes of a request at most: a thousand tasks with payloads of their own.
QUEUE_BYTES = 72 << 20
#: header of a log: number of the last line in it.
LAST_NO_HEADER = "X-Last-No"
PLAIN_TEXT = "text/plain; charset=utf-8"
_KIND = "tasks"

OwnId = Annotated[str, Meta(pattern="^([0-9a-f]{24})?$")]


class Tasks(msgspec.Struct, frozen=True):
    """A page of tasks, newest first, without their payloads.

    Args:
        items: the tasks.
        next: cursor of the next page; null at the end.
    """

    items: list[Task]
    next: str | None


class TaskCounts(msgspec.Struct, frozen=True):
    """How many tasks have each status.

    Args:
        counts: number by status; those without any are left out.
    """

    counts: dict[str, int]


class QueuedTasks(msgspec.Struct, frozen=True):
    """Tasks that were queued, in the order of the request.

    Args:
        items: the tasks, without their payloads.
    """

    items: list[Task]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tasks; each filter that is given has to fit.

    Args:
        project: id or name; empty is any that may be seen.
        code: name of the code.
        code_id: id of the code.
        status: one of these; may be given several times.
        label: of the task.
        cluster: of the task.
        schedule: id of the schedule that made it.
        created_after: queued at this time or later.
        created_before: queued before this time.
    """

    project: str = ""
    code: str = ""
    code_id: OwnId = ""
    status: tuple[TaskStatus, ...] = ()
    label: str = ""
    cluster: str = ""
    schedule: OwnId = ""
    created_after: Time | None = None
    created_before: Time | None = None


class TaskQuery(Wanted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tasks; each filter that is given has to fit.

    Args:
        project: id or name; empty is any that may be seen.
        code: name of the code.
        code_id: id of the code.
        status: one of these; may be given several times.
        label: of the task.
        cluster: of the task.
        schedule: id of the schedule that made it.
        created_after: queued at this time or later.
        created_before: queued before this time.
    """

    limit: Limit = PAGE_COUNT
    cursor: Cursor = ""


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of a log.

    Args:
        after_no: behind the line of this number.
        stdout: only the standard output.
    """

    after_no: Number = 0
    stdout: bool = False


def _queue(call: Call) -> QueuedTasks:
    asked: NewTasks = call.body
    work = tasks_of(call)
    project = work.projects.to_write(asked.project, "task.queue")
    rows = work.tasks.queue(project, [draft_of_task(one) for one in asked.tasks])
    return QueuedTasks([task_of(row, project.name) for row in rows])


def _list(call: Call) -> Tasks:
    query: TaskQuery = call.query
    before_id, work = place_of(query, _KIND), tasks_of(call)
    wanted = msgspec.structs.replace(_filter(work, query), before_id=before_id)
    rows = work.tasks.tasks(wanted, limit=query.limit + 1)
    items, after = page_from(
        query, _KIND, rows, key=lambda row: row.id, show=lambda row: shown_task(work, row)
    )
    return Tasks(items, after if len(rows) > query.limit else None)


def _count(call: Call) -> TaskCounts:
    work = tasks_of(call)
    return TaskCounts(work.tasks.counts(_filter(work, call.query)))


def _filter(work: GuardedTasks, query: Wanted) -> TaskFilter:
    return TaskFilter(
        project_id=work.projects.find(query.project).id if query.project else "",
        code_id=query.code_id,
        code_name=query.code,
        statuses=tuple(map(str, query.status)),
        label=query.label,
        cluster=query.cluster,
        schedule_id=query.schedule,
        created_after=query.created_after,
        created_before=query.created_before,
    )


def shown_task(work: GuardedTasks, row: TaskRow, *, has_payload: bool = False) -> Task:
    """Return a task as it is shown to who asks."""
    payload = work.tasks.payload(row) if has_payload else None
    return task_of(row, work.rights.project(row.project_id).name, payload)


def _get(call: Call) -> Task:
    work = tasks_of(call)
    return shown_task(work, work.tasks.task(call.path["task_id"]), has_payload=True)


def _log(call: Call) -> Response:
    query, service = call.query, call.site.service
    row = tasks_of(call).tasks.task(call.path["task_id"])
    last = service.log_lines(row.id, limit=1, is_tail=True)
    end_no = last[-1].no if last else 0
    found = service.tasks.output(row, is_stdout=query.stdout, after_no=query.after_no, end_no=end_no)
    headers = {LAST_NO_HEADER: str(max(end_no, query.after_no))}
    return StreamingResponse(_encoded(found), headers=headers, media_type=PLAIN_TEXT)


def _encoded(pieces: Iterator[str]) -> Iterator[bytes]:
    """Yield pieces of text as bytes; many short ones together."""
    waiting, size = [], 0
    for one in pieces:
        waiting.append(one)
        size += len(one)
        if size >= 1 << 16:
            yield "".join(waiting).encode("utf-8", "replace")
            waiting, size = [], 0
    yield "".join(waiting).encode("utf-8", "replace")


OPERATIONS = (
    Operation(
        method="GET",
        path="/tasks",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List tasks, newest first",
        tag="task",
        query=TaskQuery,
        answer=Tasks,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/tasks",
        do=_queue,
        scope=Scope.RUN,
        summary=f"Queue 1 to {MOST_TASKS} tasks, all or none",
        tag="task",
        body=NewTasks,
        answer=QueuedTasks,
        status=201,
        errors=(404,),
        body_bytes=QUEUE_BYTES,
    ),
    Operation(
        method="GET",
        path="/tasks/counts",
        do=_count,
        scope=Scope.READ,
        also=SEEING,
        summary="Count tasks by status",
        tag="task",
        query=Wanted,
        answer=TaskCounts,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/tasks/{task_id}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a task with its payload",
        description="What is called like a secret in the payload has a mask in its place.",
        tag="task",
        answer=Task,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/tasks/{task_id}/log",
        do=_log,
        scope=Scope.READ,
        also=SEEING,
        summary="Get what a task has written so far, exactly",
        description=(
            f"The header `{LAST_NO_HEADER}` is the number of the last line; "
            "asked again with it as `after_no`, the answer is what was written since."
        ),
        tag="task",
        query=LogQuery,
        errors=(404,),
        media_type=PLAIN_TEXT,
    ),
)

"""What people and programs do to tasks: cancel, try again, say how far one is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from reworker.core.principal import Scope
from reworker.core.tasks.requests import Delay
from reworker.core.tasks.views import Task
from reworker.web.api_v1.serving import tasks_of
from reworker.web.api_v1.tasks import shown_task
from reworker.web.operations import Call, Operation


class TaskRetry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to try a task again.

    Args:
        delay_s: seconds before which the new one is not started.
    """

    delay_s: Delay = 0.0


class TaskProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a task is.

    Args:
        percent: 0 to 100; null leaves it.
        message: in words; null leaves it.
    """

    percent: Annotated[int, Meta(ge=0, le=100)] | None = None
    message: Annotated[str, Meta(max_length=64 << 10)] | None = None


def _cancel(call: Call) -> Task:
    work = tasks_of(call)
    return shown_task(work, work.tasks.cancel(call.path["task_id"]))


def _retry(call: Call) -> Task:
    work = tasks_of(call)
    return shown_task(work, work.tasks.retry(call.path["task_id"], delay_s=call.body.delay_s))


def _progress(call: Call) -> Task:
    work, asked = tasks_of(call), call.body
    row = work.tasks.progress(call.path["task_id"], percent=asked.percent, msg=asked.message)
    return shown_task(work, row)


OPERATIONS = (
    Operation(
        method="POST",
        path="/tasks/{task_id}/cancel",
        do=_cancel,
        scope=Scope.CANCEL,
        summary="End a task",
        description="One that waits is over at once, one that runs as soon as its worker hears of it.",
        tag="task",
        answer=Task,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/tasks/{task_id}/retry",
        do=_retry,
        scope=Scope.RUN,
        summary="Queue a task anew, with the newest revision of its code",
        tag="task",
        body=TaskRetry,
        answer=Task,
        status=201,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/tasks/{task_id}/progress",
        do=_progress,
        scope=Scope.RUN,
        also=(Scope.WORKER,),
        summary="Say how far a task is",
        tag="task",
        body=TaskProgress,
        answer=Task,
        errors=(404,),
    ),
)

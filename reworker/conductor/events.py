"""Events about tasks, for programs that listen to them: begun, executed, failed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reworker.clock import Clock
from reworker.conductor.models import Task
from reworker.task_errors import JobGoesOn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskEvent:
    """What all events say."""

    task_type: str
    task_id: str
    worker_id: str
    workflow_instance_id: str
    timestamp: datetime


@dataclass(frozen=True)
class TaskExecutionStarted(TaskEvent):
    """A worker has begun a task."""


@dataclass(frozen=True)
class TaskExecutionCompleted(TaskEvent):
    """A worker has executed a task: it is completed, or goes on later."""

    duration_ms: float


@dataclass(frozen=True)
class TaskExecutionFailure(TaskEvent):
    """A task has failed; `cause` is what was raised, or was made from its result."""

    cause: BaseException
    duration_ms: float


@dataclass(frozen=True)
class Listeners:
    """Objects that are told of tasks, on the thread of each task, by those of the methods they have.

    ``on_task_execution_started(event)``, ``on_task_execution_completed(event)`` and
    ``on_task_execution_failure(event)``. What a listener raises is logged, and disturbs no task.
    """

    listeners: Sequence[Any] = ()

    @contextlib.contextmanager
    def told_of(self, task: Task, clock: Clock) -> Iterator[None]:
        """Tell of the task that is executed in the block."""
        if not self.listeners:
            yield
            return
        begin_mono_s = clock.mono_s()
        self._tell("started", TaskExecutionStarted(**_head(task, clock)))
        try:
            yield
        except BaseException as error:
            duration_ms = (clock.mono_s() - begin_mono_s) * 1000
            if isinstance(error, JobGoesOn):
                self._tell("completed", TaskExecutionCompleted(**_head(task, clock), duration_ms=duration_ms))
            else:
                event = TaskExecutionFailure(**_head(task, clock), cause=error, duration_ms=duration_ms)
                self._tell("failure", event)
            raise
        duration_ms = (clock.mono_s() - begin_mono_s) * 1000
        self._tell("completed", TaskExecutionCompleted(**_head(task, clock), duration_ms=duration_ms))

    def _tell(self, what: str, event: TaskEvent) -> None:
        for listener in self.listeners:
            method = getattr(listener, f"on_task_execution_{what}", None)
            try:
                if method is not None:
                    method(event)
            except Exception:  # foreign code, which must not decide how a task ends
                logger.exception("%s: the listener %r failed", event.task_id, listener)


def _head(task: Task, clock: Clock) -> dict[str, Any]:
    return {
        "task_type": task.task_def_name or "",
        "task_id": task.task_id or "",
        "worker_id": task.worker_id or "",
        "workflow_instance_id": task.workflow_instance_id or "",
        "timestamp": clock.now(),
    }

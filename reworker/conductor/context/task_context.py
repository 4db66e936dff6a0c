"""What code that runs for a task may ask and say without being handed anything: `get_task_context()`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

from reworker.conductor.models import Task, TaskExecLog, TaskResult, TaskResultStatus

#: seconds after which a task in progress is executed again when nothing is said. Source: the Python SDK.
CALLBACK_S = 60


class TaskInProgress:
    """Returned by a worker whose task is not over: execute it again later; not an error.

    Args:
        callback_after_seconds: when.
        output: what the next execution finds in `Task.output_data`.
    """

    def __init__(
        self, callback_after_seconds: float = CALLBACK_S, output: dict[str, Any] | None = None
    ) -> None:
        self.callback_after_seconds = callback_after_seconds
        self.output = output or {}

    def __repr__(self) -> str:
        return f"TaskInProgress(callback_after_seconds={self.callback_after_seconds}, output={self.output})"


class TaskContext:
    """The task that runs, and what was said of it so far. Any thread of the job may use it.

    Args:
        task: runs.
        say: sends a line of output.
        is_cancelled: tells whether the task has been told to stop.
    """

    def __init__(
        self,
        task: Task,
        say: Callable[[str], None] = lambda _line: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.task = task
        #: what `set_output` and `set_callback_after` say; its lines have been sent already.
        self.task_result = TaskResult(
            task.workflow_instance_id, task.task_id, worker_id=task.worker_id, logs=[]
        )
        self._say, self._is_cancelled = say, is_cancelled

    @property
    def cancelled(self) -> bool:
        """Whether the task has been told to stop: end soon. An ``async def`` is cancelled where it waits."""
        return self._is_cancelled()

    def get_task_id(self) -> str:
        """Return the id of the task."""
        return self.task.task_id or ""

    def get_workflow_instance_id(self) -> str:
        """Return the id of the deployment; of a core of 2014 the correlation id."""
        return self.task.workflow_instance_id or ""

    def get_task_def_name(self) -> str:
        """Return the worker type."""
        return self.task.task_def_name or ""

    def get_retry_count(self) -> int:
        """Return how many tries of the task have failed."""
        return self.task.retry_count

    def get_poll_count(self) -> int:
        """Return how often the task was begun, this time included; more than 1 after it was in progress."""
        return self.task.poll_count

    def get_input(self) -> dict[str, Any]:
        """Return the input of the task."""
        return self.task.input_data or {}

    def get_callback_after_seconds(self) -> float:
        """Return what `set_callback_after` was given; 0 is nothing."""
        return self.task_result.callback_after_seconds or 0

    def set_callback_after(self, seconds: float) -> None:
        """Have the task executed again after so many seconds; what is returned is its output so far."""
        self.task_result.callback_after_seconds = seconds

    def status_of_output(self) -> TaskResultStatus:
        """Return how a task stands whose worker returned output, and nothing else."""
        is_over = not self.task_result.callback_after_seconds
        return TaskResultStatus.COMPLETED if is_over else TaskResultStatus.IN_PROGRESS

    def set_output(self, output_data: dict[str, Any]) -> None:
        """Set values of the output; what the function returns wins over them.

        Raises:
            ValueError: it is no dictionary.
        """
        if not isinstance(output_data, dict):
            raise ValueError(f"the output of a task is a dictionary, found {type(output_data).__name__}")
        self.task_result.output_data = output_data

    def add_log(self, log_message: str) -> None:
        """Send a line to the output of the deployment, at once."""
        self._say(str(log_message))
        assert self.task_result.logs is not None
        self.task_result.logs.append(TaskExecLog(log_message, self.task.task_id))


_current: ContextVar[TaskContext | None] = ContextVar("the task that runs", default=None)


def status_of_output() -> TaskResultStatus:
    """Return how the task stands whose function returned output; outside of a task it is over."""
    found = _current.get()
    return TaskResultStatus.COMPLETED if found is None else found.status_of_output()


def get_task_context() -> TaskContext:
    """Return the context of the task that runs on this thread, or in this coroutine.

    Raises:
        RuntimeError: no task runs here.
    """
    found = _current.get()
    if found is None:
        raise RuntimeError("no task runs here: get_task_context() is for the code that a worker executes")
    return found


@contextlib.contextmanager
def in_context(context: TaskContext) -> Iterator[TaskContext]:
    """Let the code in the block find this context."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)

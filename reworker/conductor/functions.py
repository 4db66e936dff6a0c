"""Functions as workers: `Worker`, and the decorator `worker_task`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from reworker.conductor.arguments import arguments_of, signature_of
from reworker.conductor.context.task_context import TaskInProgress, status_of_output
from reworker.conductor.models import Task, TaskResult
from reworker.conductor.outcomes import output_of
from reworker.conductor.workers import WorkerAbc
from reworker.errors import JobFailed

F = TypeVar("F", bound=Callable[..., Any])

#: options of the SDKs that mean nothing without a server to poll: taken, so that ported programs start.
UNUSED_OPTIONS = frozenset(
    {
        "register_task_def",
        "poll_timeout",
        "lease_extend_enabled",
        "task_def",
        "task_def_template",
        "overwrite_task_def",
        "strict_schema",
        "register_schema",
    }
)
#: attribute in which a decorated function has its workers.
MARK = "reworker_tasks"


class Worker(WorkerAbc):
    """Executes the tasks of a type with a function.

    The function gets a `Task` where a parameter is marked so, and else the values of the input by the names
    of its parameters. It returns the output, a `TaskResult` or a `TaskInProgress`; it may be ``async def``.

    Args:
        task_definition_name: the type, or a list of types.
        execute_function: is called for each task.
        poll_interval: milliseconds; see `get_polling_interval_in_seconds`.
        domain: of its queue; None is none.
        worker_id: who executes the tasks; None is the name of the machine.
        thread_count: tasks that may be executed at once.
        options: `paused`, `idempotent`; and those of the SDKs that mean nothing here.

    Raises:
        TypeError: there is no such option, or the function cannot be called.
    """

    def __init__(
        self,
        task_definition_name: str | list[str],
        execute_function: Callable[..., Any],
        poll_interval: float | None = None,
        domain: str | None = None,
        worker_id: str | None = None,
        thread_count: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(task_definition_name)
        if not callable(execute_function):
            raise TypeError(f"a worker needs a function, found {execute_function!r:.60}")
        self._is_paused = bool(options.pop("paused", False))
        self.idempotent = bool(options.pop("idempotent", False))
        unknown = sorted(set(options) - UNUSED_OPTIONS)
        if unknown:
            raise TypeError(f"worker {task_definition_name}: unknown option {', '.join(unknown)}")
        self.execute_function = execute_function
        self.poll_interval = poll_interval or self.poll_interval
        self.domain, self.worker_id, self.thread_count = domain, worker_id, thread_count
        self._signature = signature_of(execute_function)

    def get_identity(self) -> str:
        """Return who executes the tasks."""
        return self.worker_id or super().get_identity()

    def paused(self) -> bool:
        """Tell whether it was made `paused`."""
        return self._is_paused

    def problems_in(self, task: Task) -> list[str]:
        """Return what is wrong with the input of a task; it fails then, and has not begun."""
        return arguments_of(self._signature, task)[1]

    def execute(self, task: Task) -> TaskResult | TaskInProgress | Awaitable[Any]:
        """Call the function; of an ``async def`` return what is to be awaited.

        Raises:
            JobFailed: the input does not fit the function.
            Exception: what the function raises.
        """
        values, problems = arguments_of(self._signature, task)
        if problems:
            raise JobFailed(f"wrong input for {task.task_def_name}: {'; '.join(problems)}")
        found = self.execute_function(**values)
        return self._awaited(task, found) if inspect.isawaitable(found) else self._wrapped(task, found)

    async def _awaited(self, task: Task, work: Awaitable[Any]) -> TaskResult | TaskInProgress:
        return self._wrapped(task, await work)

    def _wrapped(self, task: Task, found: Any) -> TaskResult | TaskInProgress:
        if isinstance(found, TaskInProgress):
            return found
        if isinstance(found, TaskResult):
            found.task_id, found.workflow_instance_id = task.task_id, task.workflow_instance_id
            return found
        result = self.get_task_result_from_task(task)
        result.status, result.output_data = status_of_output(), output_of(found)
        return result


#: what swift-conductor-client calls the same.
WorkerImpl = Worker


def worker_task(
    task_definition_name: str,
    poll_interval_millis: float = 100,
    domain: str | None = None,
    worker_id: str | None = None,
    thread_count: int = 1,
    **options: Any,
) -> Callable[[F], F]:
    """Make a function a worker; it can be called as before.

    `TaskHandler` finds decorated functions of modules that are imported; `WorkerHost` takes them in its list.

    Args:
        task_definition_name: the type.
        poll_interval_millis: see `Worker`.
        domain: of its queue; None is none.
        worker_id: who executes the tasks; None is the name of the machine.
        thread_count: tasks that may be executed at once.
        options: see `Worker`; `poll_interval` and `poll_interval_seconds` are older names of the interval.

    Raises:
        TypeError: there is no such option.
    """
    seconds = options.pop("poll_interval_seconds", 0)
    interval = seconds * 1000 if seconds else options.pop("poll_interval", poll_interval_millis)

    def decorated(function: F) -> F:
        worker = Worker(task_definition_name, function, interval, domain, worker_id, thread_count, **options)
        setattr(function, MARK, [*workers_in(function), worker])
        function.worker_class = worker.worker_class  # type: ignore[attr-defined]  # host files name functions, too
        return function

    return decorated


#: its older name.
WorkerTask = worker_task


def workers_in(value: object) -> list[WorkerAbc]:
    """Return the worker that an object is, or those that decorators have made of it."""
    if isinstance(value, WorkerAbc):
        return [value]
    found = getattr(value, MARK, ())
    return [one for one in found if isinstance(one, WorkerAbc)] if isinstance(found, list) else []


def decorated_workers() -> list[WorkerAbc]:
    """Return the workers of all decorated functions that stand in imported modules, each once."""
    functions = (one for module in list(sys.modules.values()) for one in _functions_in(module))
    return list({id(worker): worker for one in functions for worker in workers_in(one)}.values())


def _functions_in(module: object) -> Iterator[FunctionType]:
    for value in list(getattr(module, "__dict__", {}).values()):
        if type(value) is FunctionType:
            yield value

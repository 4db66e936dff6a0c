"""The class by which reworker runs a worker in Conductor's style: one for each of its types."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import msgspec

from reworker.conductor.context.task_context import TaskContext, in_context
from reworker.conductor.events import Listeners
from reworker.conductor.failures import NonRetryableException, TaskFailed, TaskFailedForGood
from reworker.conductor.figures import TaskFigures
from reworker.conductor.loops import ProcessLoop
from reworker.conductor.models import Task
from reworker.conductor.outcomes import data_in, reason_of, result_in
from reworker.conductor.tasks import task_of
from reworker.errors import JobFailed
from reworker.host.metrics import Family
from reworker.jobs.attempt import Attempt
from reworker.jobs.retry import Retry, class_of
from reworker.task_errors import JobGoesOn
from reworker.worker import Job, Worker, step


class Style(Protocol):
    """What is asked of a worker in Conductor's style; `WorkerAbc` has all of it."""

    thread_count: int
    idempotent: bool
    poll_interval: float | None
    domain: str | None

    def execute(self, task: Task) -> Any:
        """Perform a task."""
        ...

    def get_domain(self) -> str | None:
        """Return the domain of its queues."""
        ...

    def get_identity(self) -> str:
        """Return who executes the tasks."""
        ...

    def paused(self) -> bool:
        """Tell whether to take no new tasks."""
        ...


class Adapter(Worker):
    """Performs the steps of one type with a worker in Conductor's style; `adapter_of` makes the classes.

    All instances of a process share that worker, as the threads of the SDKs do.
    """

    style: ClassVar[Style]
    task_type: ClassVar[str]
    #: in code; the style's own attributes are told what the settings say.
    own_domain: ClassVar[str | None]
    loop: ClassVar[ProcessLoop]
    listeners: ClassVar[Listeners]
    figures: ClassVar[TaskFigures]
    _kept: tuple[Attempt, Task] | None = None

    def __init__(
        self,
        mq_config: Any,
        config_file: str | None = None,
        logger: logging.Logger | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(mq_config, config_file, logger, **{**properties_of(self), **kwargs})
        # What the environment or a file says is what the methods of the style answer.
        with contextlib.suppress(AttributeError):
            self.style.domain = self._settings.domain or None
        if self._settings.polling_interval_ms is not None:
            with contextlib.suppress(AttributeError):
                self.style.poll_interval = self._settings.polling_interval_ms

    def problems_in(self, subcommand: str, values: Mapping[str, Any], hosts: Sequence[str]) -> Iterable[str]:
        """Fail a step whose input does not fit the function of the worker.

        Raises:
            JobFailed: it does not.
        """
        asked: Callable[[Task], Iterable[str]] | None = getattr(self.style, "problems_in", None)
        found = "; ".join(asked(self._task())) if asked is not None else ""
        if found:
            raise JobFailed(f"wrong input for {self.task_type}: {found}")
        return ()

    def own_families(self) -> Iterator[Family]:
        """Yield figures of the tasks of this process, beside those of every worker."""
        return self.figures.families(self.task_type)

    @step("*")
    def perform(self, job: Job, **_: Any) -> dict[str, Any]:
        """Execute a task, and answer as its result says."""
        attempt, task = self._running(), self._task()
        self._kept = None  # it may be large
        attempt.retry = with_failed_tasks(attempt.retry)
        context = TaskContext(task, lambda line: job.output.info("%s", line), lambda: job.cancelled)
        try:
            with in_context(context), self.listeners.told_of(task, attempt.station.clock):
                return self._executed(task, context, job)
        except NonRetryableException as error:
            attempt.retry = None
            reason = reason_of(error.args[0] if error.args else None) or "failed for good"
            data: dict[str, Any] = {
                "reason": reason,
                "output": {},
                "workerId": task.worker_id,
                "terminal": True,
            }
            raise TaskFailedForGood(reason, data) from error
        except TaskFailedForGood:
            attempt.retry = None
            raise
        except JobGoesOn:
            job.check_cancelled()
            raise

    def _executed(self, task: Task, context: TaskContext, job: Job) -> dict[str, Any]:
        found = self.style.execute(task)
        if inspect.isawaitable(found):
            found = self.loop.run(found, self._running())
        result = result_in(found, context, type(self.style).__name__)
        for one in result.logs or ():
            if one not in (context.task_result.logs or ()):
                job.output.info("%s", getattr(one, "log", one))
        try:
            return data_in(result, task.worker_id or "", task.poll_count)
        except TaskFailed:
            job.output.error("failed: %s", reason_of(result.reason_for_incompletion))
            raise

    def _is_idempotent_step(self, subcommand: Any) -> bool:
        return self.style.idempotent

    def _running(self) -> Attempt:
        assert self._attempt is not None
        return self._attempt

    def _task(self) -> Task:
        """Return the task of the running attempt; it is looked at before it begins, and then executed."""
        attempt, kept = self._running(), self._kept
        if kept is None or kept[0] is not attempt:
            kept = self._kept = attempt, task_of(attempt, self.task_type, self.style.get_identity())
        return kept[1]


def adapter_of(style: Style, task_type: str, listeners: Sequence[Any] = ()) -> type[Adapter]:
    """Return the class by which one type of a worker is run; `listeners` are told of its tasks."""
    name = task_type if task_type.lower().endswith("worker") else f"{task_type}Worker"
    figures = TaskFigures()
    own = {
        "style": style,
        "task_type": task_type,
        "own_domain": style.get_domain(),
        "listeners": Listeners((figures, *listeners)),
        "figures": figures,
        "loop": ProcessLoop(f"loop of {task_type}"),
        "__module__": type(style).__module__,
        "__doc__": inspect.getdoc(style) or f"Executes tasks of the type {task_type}.",
    }
    return type(name, (Adapter,), own)


def properties_of(adapter: Adapter) -> dict[str, Any]:
    """Return what a worker says of itself in code, as properties."""
    style = adapter.style
    found = {"queue": adapter.task_type, "instances": style.thread_count, "domain": adapter.own_domain}
    if is_paused(style):
        found["paused"] = True
    return {name: value for name, value in found.items() if value is not None}


def is_paused(style: Style) -> bool:
    """Tell whether a worker wants no new tasks; some have the word as a plain attribute."""
    said: Any = style.paused
    return bool(said() if callable(said) else said)


def with_failed_tasks(policy: Retry | None) -> Retry | None:
    """Let a policy that takes any error take tasks that failed by their result as well."""
    if policy is None or Exception not in map(class_of, policy.retry_on):
        return policy
    return msgspec.structs.replace(policy, retry_on=(*policy.retry_on, TaskFailed))

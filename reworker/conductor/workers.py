"""The base of workers in Conductor's style: a class with `execute(task)`; knows no message bus."""

from __future__ import annotations

import abc
import socket
from typing import Any

from reworker.conductor.adapter import Adapter, adapter_of
from reworker.conductor.models import Task, TaskResult
from reworker.errors import ConfigError

#: milliseconds between two polls that the SDKs assume; with pushed messages nobody polls.
DEFAULT_POLLING_INTERVAL = 100


class WorkerAbc(abc.ABC):
    """Executes the tasks of one type, or of several; subclass it and write `execute`.

    Threads: with `thread_count` above 1, `execute` is called on several threads of one object.

    Args:
        task_definition_name: the type, or a list of types; each is a queue of its own.
    """

    #: tasks that may be executed at once, in one process.
    thread_count: int = 1
    #: it may safely be executed twice, so that a lost worker's task is begun again.
    idempotent: bool = False
    #: of its queues; None is none.
    domain: str | None = None
    #: milliseconds; see `get_polling_interval_in_seconds`.
    poll_interval: float | None = DEFAULT_POLLING_INTERVAL
    next_task_index: int = 0

    def __init__(self, task_definition_name: str | list[str]) -> None:
        self.task_definition_name = task_definition_name

    @abc.abstractmethod
    def execute(self, task: Task) -> TaskResult | Any:
        """Perform a task; it may be ``async def``.

        Returns:
            The result, with a status; or a `TaskInProgress`; or the output of a task that is completed.

        Raises:
            NonRetryableException: it failed, and another try would not help.
            Exception: it failed.
        """

    def get_identity(self) -> str:
        """Return who executes the tasks; the name of the machine."""
        return socket.gethostname()

    def get_polling_interval_in_seconds(self) -> float:
        """Return the seconds between two polls: what the property `polling_interval` says, if anything.

        Messages are pushed; only where that property is set, its value counts.
        """
        return (self.poll_interval or DEFAULT_POLLING_INTERVAL) / 1000

    def get_domain(self) -> str | None:
        """Return the domain of its queues; None is none."""
        return self.domain

    def get_task_definition_name(self) -> str:
        """Return the type; of several, one after the other with `clear_task_definition_name_cache`."""
        names = self.task_definition_names
        return names[self.next_task_index % len(names)]

    @property
    def task_definition_names(self) -> list[str]:
        """All its types."""
        is_own = type(self).get_task_definition_name is not WorkerAbc.get_task_definition_name
        names: Any = self.get_task_definition_name() if is_own else self.task_definition_name
        return list(names) if isinstance(names, list | tuple) else [names]

    def clear_task_definition_name_cache(self) -> None:
        """Go on to the next of several types."""
        self.next_task_index = (self.next_task_index + 1) % len(self.task_definition_names)

    def get_task_result_from_task(self, task: Task) -> TaskResult:
        """Return a result for a task, without a status."""
        return TaskResult(task.workflow_instance_id, task.task_id, worker_id=self.get_identity())

    def paused(self) -> bool:
        """Tell whether to take no new tasks; asked once a second when a class overrides it."""
        return False

    def worker_class(self, task_type: str = "") -> type[Adapter]:
        """Return the class by which reworker runs this worker, for one of its types; empty is the only one.

        So ``module:name`` of a worker object stands in host files and in ``reworker config show``.

        Raises:
            ConfigError: it has several types, and none is said.
        """
        names = self.task_definition_names
        if not task_type and len(names) > 1:
            raise ConfigError(
                f"{type(self).__name__} has the types {', '.join(names)}; make a worker for each, or run "
                "them with reworker.conductor.WorkerHost",
                key="task_definition_name",
            )
        return adapter_of(self, task_type or names[0])


#: what the SDK of Orkes calls the same.
WorkerInterface = WorkerAbc

"""Workers in Conductor's style at a station without a broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reworker.conductor import Task, TaskResult, TaskResultStatus, WorkerAbc, worker_task
from reworker.conductor.functions import workers_in
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import Harness

LEVEL_2 = headers_of_step(StepHeaders())


class Styled(WorkerAbc):
    """Returns what it is told to, or raises it."""

    def __init__(self, answer: Any = None, task_definition_name: str = "frob") -> None:
        super().__init__(task_definition_name)
        self.answer = answer
        self.tasks: list[Task] = []

    def execute(self, task: Task) -> Any:
        self.tasks.append(task)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer(self, task) if callable(self.answer) else self.answer


def result(status: Any, **fields: Any) -> Callable[[WorkerAbc, Task], TaskResult]:
    """Return what makes a result of a task."""

    def made(worker: WorkerAbc, task: Task) -> TaskResult:
        found = worker.get_task_result_from_task(task)
        found.status = status
        for name, value in fields.items():
            setattr(found, name, value)
        return found

    return made


COMPLETED = result(TaskResultStatus.COMPLETED, output_data={"done": 1})


def station_of(worker: Any, **options: Any) -> Harness:
    """Return a worker's adapter, ready to be given messages."""
    (found,) = workers_in(worker)
    return Harness(found.worker_class(), **options)


def body(*, dynamic: Any = None, **parameters: Any) -> dict[str, Any]:
    own = {"command": "frob", "subcommand": "Run", "hosts": ["web1"]}
    return {"group": "g", "parameters": {**own, **parameters}, "dynamic": dynamic or {}, "notify": {}}


def performed(worker: Any, *, headers: Any = LEVEL_2, dynamic: Any = None, **parameters: Any) -> Any:
    """Give a worker one message, and return what it answered."""
    harness = station_of(worker)
    return harness.run(harness.delivery(body(dynamic=dynamic, **parameters), headers=headers))


def function(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    return worker_task("frob", **options)

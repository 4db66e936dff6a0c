"""Workers of conductor-python in all its ways: class, function, decorator, sync and async.

Server and token come from the environment: CONDUCTOR_SERVER_URL, CONDUCTOR_AUTH_KEY, CONDUCTOR_AUTH_SECRET.
"""

import asyncio
import time
from typing import Any

from conductor.client.automator.task_handler import TaskHandler
from conductor.client.configuration.configuration import Configuration
from conductor.client.context.task_context import TaskInProgress, get_task_context
from conductor.client.http.models import Task, TaskDef, TaskResult
from conductor.client.http.models.task_result_status import TaskResultStatus
from conductor.client.worker.exception import NonRetryableException
from conductor.client.worker.worker import Worker
from conductor.client.worker.worker_interface import WorkerInterface
from conductor.client.worker.worker_task import worker_task


class ClassWorker(WorkerInterface):
    """As in the guides: makes its result itself."""

    def execute(self, task: Task) -> TaskResult:
        """Say what came."""
        result = self.get_task_result_from_task(task)
        result.add_output_data("speed", task.input_data.get("speed"))
        result.status = TaskResultStatus.COMPLETED
        return result


def by_function(task: Task) -> dict[str, Any]:
    """Return what came."""
    return {"hosts": task.input_data["hosts"], "raw": sorted(task.input_data["_re"])}


@worker_task(task_definition_name="cp_sync", thread_count=5)
def by_decorator(speed: int, color: str = "none") -> dict[str, Any]:
    """Return what came by name."""
    get_task_context().add_log(f"painting {color}")
    return {"double": speed * 2, "color": color}


@worker_task(task_definition_name="cp_async", thread_count=10)
async def by_coroutine(speed: int) -> dict[str, Any]:
    """Return what came by name, on the event loop of the client."""
    await asyncio.sleep(0.01)
    return {"triple": speed * 3}


@worker_task(task_definition_name="cp_progress")
def in_pieces(speed: int) -> dict[str, Any] | TaskInProgress:
    """Be asked twice."""
    polls = get_task_context().get_poll_count()
    if polls < 2:
        return TaskInProgress(callback_after_seconds=1, output={"polls": polls})
    return {"polls": polls, "speed": speed}


@worker_task(task_definition_name="cp_final")
def for_good(speed: int) -> dict[str, Any]:
    """Fail without another try."""
    raise NonRetryableException(f"never again at {speed}")


@worker_task(
    task_definition_name="cp_flaky",
    register_task_def=True,
    task_def=TaskDef(name="cp_flaky", retry_count=2, retry_delay_seconds=1, response_timeout_seconds=20),
)
def now_and_then(speed: int) -> dict[str, Any]:
    """Fail once; the definition allows two more tries."""
    tries = get_task_context().get_retry_count()
    if tries < 1:
        raise KeyError(speed)
    return {"tries": tries}


@worker_task(
    task_definition_name="cp_long",
    lease_extend_enabled=True,
    register_task_def=True,
    task_def=TaskDef(name="cp_long", response_timeout_seconds=10),
)
def at_length(seconds: float) -> dict[str, Any]:
    """Work for longer than the lease is, which the client extends."""
    time.sleep(seconds)
    return {"slept": seconds, "polls": get_task_context().get_poll_count()}


@worker_task(task_definition_name="cp_domain", domain="blue")
def in_a_domain(speed: int) -> dict[str, Any]:
    """Work where others do not."""
    return {"domain": "blue", "speed": speed}


def main() -> None:
    """Serve until killed."""
    workers = [
        ClassWorker("cp_class"),
        Worker(task_definition_name="cp_function", execute_function=by_function),
    ]
    with TaskHandler(workers, Configuration(), scan_for_annotated_workers=True) as handler:
        handler.start_processes()
        handler.join_processes()


if __name__ == "__main__":
    main()

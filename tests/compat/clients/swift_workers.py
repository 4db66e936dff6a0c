"""The program of the guide for workers in Python, on swift-conductor-client: its modules as they are called.

The guide names `worker_interface` and `worker.worker`, which are not in the package, and ends without
`join_processes()`, so that nothing would ever be polled.
"""

import os
from multiprocessing import set_start_method

from swift_conductor.automation.worker_host import WorkerHost
from swift_conductor.configuration import Configuration
from swift_conductor.http.models import Task, TaskResult
from swift_conductor.http.models.task_result_status import TaskResultStatus
from swift_conductor.worker.worker_abc import WorkerAbc
from swift_conductor.worker.worker_impl import WorkerImpl


class SampleWorker(WorkerAbc):
    """As in the guide."""

    def execute(self, task: Task) -> TaskResult:
        """Say something."""
        task_result = self.get_task_result_from_task(task)
        task_result.status = TaskResultStatus.COMPLETED

        task_result.add_output_data("outputKey1", "value")
        task_result.add_output_data("oddEven", 1)
        task_result.add_output_data("mod", 4)

        return task_result

    def get_polling_interval_in_seconds(self) -> float:
        """Poll every half second."""
        return 0.5


class Careless(WorkerAbc):
    """Forgets to say how it ended."""

    def execute(self, task: Task) -> TaskResult:
        """Return a result without a status."""
        return self.get_task_result_from_task(task)


def by_function(task: Task) -> TaskResult:
    """Fail, with a reason that is no text."""
    result = TaskResult(task_id=task.task_id, workflow_instance_id=task.workflow_instance_id, worker_id="f")
    result.status = TaskResultStatus.FAILED
    result.reason_for_incompletion = 3
    return result


def main() -> None:
    """Serve until killed."""
    set_start_method("spawn")
    configuration = Configuration(server_api_url=os.environ["SWIFT_SERVER_URL"])
    workers = [
        SampleWorker(task_definition_name="task_1"),
        SampleWorker(task_definition_name="task_2"),
        Careless(task_definition_name="sw_careless"),
        WorkerImpl("sw_function", by_function, poll_interval=0.1),
    ]
    with WorkerHost(workers, configuration) as worker_host:
        worker_host.start_processes()
        worker_host.join_processes()


if __name__ == "__main__":
    main()

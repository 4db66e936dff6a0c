"""A quick worker of swift-conductor-client that notes each step that it begins, in the file MARKS."""

import os
import time
from multiprocessing import set_start_method

from swift_conductor.automation.worker_host import WorkerHost
from swift_conductor.configuration import Configuration
from swift_conductor.http.models import Task, TaskResult
from swift_conductor.http.models.task_result_status import TaskResultStatus
from swift_conductor.worker.worker_abc import WorkerAbc


class Marking(WorkerAbc):
    """Notes, works, completes."""

    def execute(self, task: Task) -> TaskResult:
        """Do it."""
        with open(os.environ["MARKS"], "a", encoding="ascii") as file:
            file.write(f"{task.correlation_id}\n")
        time.sleep(task.input_data["seconds"])
        result = self.get_task_result_from_task(task)
        result.status = TaskResultStatus.COMPLETED
        return result

    def get_polling_interval_in_seconds(self) -> float:
        """Poll again at once: the server holds polls."""
        return 0.01


def main() -> None:
    """Serve until killed."""
    set_start_method("spawn")
    configuration = Configuration(server_api_url=os.environ["SWIFT_SERVER_URL"])
    with WorkerHost([Marking(task_definition_name="mx_swift")], configuration) as host:
        host.start_processes()
        host.join_processes()


if __name__ == "__main__":
    main()

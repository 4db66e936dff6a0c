"""A worker of many queues, run as a process; it knows the queues that a variable names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from reworker.worker import Job, Worker, runner, step


class ManyWorker(Worker):
    """Takes the steps of everything that is called ``code.`` something."""

    queues_key = "worker.code.#"

    def known_queues(self) -> Iterable[str]:
        """Name what the variable names."""
        return os.environ.get("MANY_QUEUES", "").split()

    @step("Do")
    def do(self, job: Job, *, seconds: float = 0.0) -> float:
        """Take some time, and say when it began."""
        begun_s = time.time()
        time.sleep(seconds)
        return begun_s

    @step("Wait")
    def wait(self, job: Job) -> None:
        """Wait for its cancellation."""
        job.sleep(60)

    @step("Die")
    def die(self, job: Job) -> None:
        """Take the process along."""
        os._exit(9)


if __name__ == "__main__":
    runner(ManyWorker)

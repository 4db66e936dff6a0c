"""The job of docs/examples in Python, on our own library: what the kit says of it is the aim."""

from __future__ import annotations

from typing import Any

from reworker.errors import JobFailed
from reworker.worker import Job, Worker, runner, step

#: sums over this are failures.
LARGEST = 1000


class FrobWorker(Worker):
    @step("add")
    def add(self, job: Job, *, a: float, b: float, seconds: float = 0) -> dict[str, Any]:
        job.output.info("adding %g and %g", a, b)
        job.sleep(seconds)
        if a + b > LARGEST:
            raise JobFailed(f"{a + b:g} is over {LARGEST}")
        return {"sum": a + b}


if __name__ == "__main__":
    runner(FrobWorker)

"""A worker that does everything a worker may: output, notifications, another try, a long step."""

from __future__ import annotations

from reworker.errors import JobRetry
from reworker.worker import Job, Worker, runner, step


class NarrowWorker(Worker):
    """Needs every right that a worker has, and no other."""

    tries = 0

    @step("Talk")
    def talk(self, job: Job) -> None:
        """Say something in every way."""
        job.output.info("talking")
        job.notify("Talk", "talked", "completed")

    @step("Again", idempotent=True)
    def again(self, job: Job) -> dict[str, int]:
        """Succeed at the second try."""
        self.tries += 1
        if self.tries < 2:
            raise JobRetry(1, "once more")
        return {"tries": self.tries}

    @step("Long")
    def long(self, job: Job) -> None:
        """Wait for its cancellation."""
        job.output.info("waiting")
        job.sleep(60)


if __name__ == "__main__":
    runner(NarrowWorker)

"""sleep: waits; for pauses between steps, and for trying out timeouts and cancellation."""

from __future__ import annotations

from reworker.errors import JobFailed
from reworker.worker import Job, Worker, runner, step

#: seconds in a row without looking whether to stop, and between two progress reports.
SLICE_S = 1.0
#: a week; longer is a mistake in the playbook.
LONGEST_S = 7 * 24 * 3600.0


class SleepWorker(Worker):
    """Sleeps on its own thread; a cancellation ends it at once."""

    @step("Seconds", idempotent=True)
    def seconds(self, job: Job, *, seconds: float) -> dict[str, float]:
        """Sleep so many seconds."""
        return self._sleep(job, seconds)

    @step("Minutes", idempotent=True)
    def minutes(self, job: Job, *, minutes: float) -> dict[str, float]:
        """Sleep so many minutes."""
        return self._sleep(job, 60 * minutes)

    def _sleep(self, job: Job, seconds: float) -> dict[str, float]:
        if not 0 <= seconds <= LONGEST_S:
            raise JobFailed(f"cannot sleep {seconds} s; give 0 to {LONGEST_S:g} seconds")
        whole, rest = divmod(seconds, SLICE_S)
        for _ in job.progress(range(int(whole))):
            job.sleep(SLICE_S)
        job.sleep(rest)
        return {"slept_s": seconds}


def main() -> None:
    """Run this worker: ``python replugin/sleepworker/__init__.py mq.json``."""
    runner(SleepWorker)


if __name__ == "__main__":
    main()

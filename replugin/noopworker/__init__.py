"""noop: does nothing, successfully; or fails when asked to. For trying playbooks."""

from __future__ import annotations

from typing import Any

from reworker.errors import JobFailed
from reworker.worker import Job, Worker, runner, step


class NoopWorker(Worker):
    """Every subcommand but `Fail` completes and says what it was given."""

    @step("*", idempotent=True)
    def noop(self, job: Job, **parameters: Any) -> dict[str, Any]:
        """Do nothing."""
        job.output.info("%s on %s: nothing to do", job.subcommand, ", ".join(job.hosts) or "no host")
        return parameters

    @step("Fail", idempotent=True)
    def fail(self, job: Job, *, message: str = "failed on request") -> None:
        """Fail with the given message."""
        raise JobFailed(message)


def main() -> None:
    """Run this worker: ``python replugin/noopworker/__init__.py mq.json``."""
    runner(NoopWorker)


if __name__ == "__main__":
    main()

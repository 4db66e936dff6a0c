"""megafrobber: the tutorial's worker, in the form of steps. It frobs; nothing is changed anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from reworker.errors import JobFailed
from reworker.worker import Job, Worker, runner, step


class MegafrobberWorker(Worker):
    """Frobs hosts at a given speed."""

    @step("Frob", idempotent=True, timeout_s=300)
    def frob(
        self,
        job: Job,
        *,
        speed: int = 1,
        color: str = "plain",
        fail_on: Sequence[str] = (),
        chance: float = 1.0,
    ) -> dict[str, Any]:
        """Frob every host; fail on the hosts named by `fail_on`, and by bad luck when `chance` is under 1."""
        for host in job.hosts:
            for turn in job.progress(range(speed)):
                job.output.info("frobbing %s in %s, turn %d of %d", host, color, turn + 1, speed)
            if host in fail_on or random.random() >= chance:
                job.notify("Frobbing failed", f"{host} could not be frobbed", "failed")
                raise JobFailed(f"{host} resists frobbing in {color}")
        job.notify("Frobbing passed", f"{len(job.hosts)} hosts frobbed", "completed")
        return {"frobbed": job.hosts, "speed": speed, "color": color}


def main() -> None:
    """Run this worker: ``python replugin/megafrobberworker/__init__.py mq.json``."""
    runner(MegafrobberWorker)


if __name__ == "__main__":
    main()

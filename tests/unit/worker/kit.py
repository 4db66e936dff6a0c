"""Workers and messages for tests of execution."""

from __future__ import annotations

import asyncio
from typing import Any

from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import Harness
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Job, Worker, step

LEVEL_2 = headers_of_step(StepHeaders())
IDEMPOTENT = headers_of_step(StepHeaders(is_idempotent=True))


def body(outcome: str = "complete", **more: Any) -> dict[str, Any]:
    own = {"command": "scripted", "subcommand": "Play", "hosts": ["web1"], "outcome": outcome}
    return {"group": "g", "parameters": {**own, **more}, "dynamic": {}, "notify": {}}


def played(outcome: str, **options: Any) -> Any:
    harness = Harness(ScriptedWorker)
    return harness.run(harness.delivery(body(outcome), headers=LEVEL_2, **options))


class StepWorker(Worker):
    """Raises what it is told to."""

    error: BaseException | None = None
    runs = 0

    @step("Do")
    def do(self, job: Job, *, value: Any = None) -> Any:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return value

    @step("Again", idempotent=True)
    def again(self, job: Job) -> str:
        self.runs += 1
        return "done"

    @step("Async")
    async def later(self, job: Job) -> str:
        await asyncio.sleep(0)
        return "awaited"


def step_body(subcommand: str = "Do", **parameters: Any) -> dict[str, Any]:
    return {"group": "g", "parameters": {"command": "step", "subcommand": subcommand, **parameters}}


def raising(error: BaseException, *, headers: Any = LEVEL_2) -> Any:
    harness = Harness(StepWorker)
    harness.worker.error = error  # type: ignore[attr-defined]  # of StepWorker
    return harness.run(harness.delivery(step_body(), headers=headers))

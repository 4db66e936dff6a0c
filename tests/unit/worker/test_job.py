"""What a step can do with its job."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from reworker.errors import JobCancelled, JobTimeout
from reworker.jobs.interrupt import Interrupt
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import FakeClock, Harness, deliver
from reworker.testing.harness import CORRELATION_ID
from reworker.worker import Job, Worker, step


class CuriousWorker(Worker):
    """Does with its job what the test says."""

    action: Any = None

    @step("Do")
    def do(self, job: Job) -> Any:
        return self.action(job)


def run(action: Any, *, headers: StepHeaders | None = None, clock: Any = None, **message: Any) -> Any:
    harness = Harness(CuriousWorker, clock=clock)
    harness.worker.action = action  # type: ignore[attr-defined]  # of CuriousWorker
    body = {"group": "web", "parameters": {"subcommand": "Do", "hosts": ["a", "b"]}, **message}
    table = headers_of_step(headers) if headers is not None else None
    return harness.run(harness.delivery(body, headers=table))


def test_job_knows_its_step_when_asked() -> None:
    seen: dict[str, Any] = {}

    def look(job: Job) -> None:
        seen.update(
            id=job.id, group=job.group, hosts=job.hosts, subcommand=job.subcommand, dynamic=job.dynamic,
            fence=job.headers.fence, attempt=job.headers.attempt, log=job.log.name,
        )  # fmt: skip

    run(look, headers=StepHeaders(attempt=2, fence=5), dynamic={"x": 1})
    assert seen == {
        "id": CORRELATION_ID,
        "group": "web",
        "hosts": ["a", "b"],
        "subcommand": "Do",
        "dynamic": {"x": 1},
        "fence": 5,
        "attempt": 2,
        "log": "CuriousWorker",
    }


def test_progress_reports_at_most_once_a_second_when_it_goes_on() -> None:
    clock = FakeClock()

    def work(job: Job) -> None:
        for _ in job.progress(range(10)):
            clock.advance(0.5)

    transcript = run(work, headers=StepHeaders(), clock=clock)
    percents = [one["percent"] for one in transcript.replies if one["status"] == "running"]
    assert percents == [20.0, 40.0, 60.0, 80.0]
    ids = [one.properties.message_id for one in transcript.sent]
    assert len(set(ids)) == len(ids)


def test_progress_needs_no_length_when_none_is_known() -> None:
    clock = FakeClock()

    def work(job: Job) -> list[int]:
        clock.advance(5)
        return list(job.progress(iter([1, 2])))

    assert run(work, headers=StepHeaders(), clock=clock).statuses == ["started", "completed"]


def test_progress_is_not_sent_when_the_core_is_of_2014() -> None:
    transcript = run(lambda job: job.report(percent=5))
    assert transcript.statuses == ["started", "completed"]


def cancel(job: Job) -> None:
    job._attempt.cancel()


@pytest.mark.parametrize(
    "wait",
    [
        lambda job: job.check_cancelled(),
        lambda job: job.sleep(60),
        lambda job: list(job.progress(range(3))),
    ],
)
def test_step_ends_as_cancelled_when_it_looks(wait: Any) -> None:
    def work(job: Job) -> None:
        cancel(job)
        wait(job)

    transcript = run(work, headers=StepHeaders())
    assert transcript.statuses == ["started", "cancelled"]


def test_sleep_ends_at_once_when_cancelled_from_another_thread() -> None:
    def work(job: Job) -> None:
        threading.Timer(0.01, cancel, [job]).start()
        job.sleep(60)

    assert run(work, headers=StepHeaders()).statuses == ["started", "cancelled"]


def test_sleep_returns_when_nothing_happens() -> None:
    assert run(lambda job: job.sleep(0.001)).statuses == ["started", "completed"]


def test_step_may_ignore_a_cancellation_when_it_has_to() -> None:
    def work(job: Job) -> bool:
        cancel(job)
        return job.cancelled

    assert run(work, headers=StepHeaders()).data is True


def test_notification_goes_to_the_transports_of_its_phase_when_sent() -> None:
    def work(job: Job) -> None:
        job.notify("s" * 100, "text", "completed")
        job.notify("s", "text", "failed")

    notify = {"completed": {"irc": ["#a"], "email": ["x@y"]}}
    sent = run(work, notify=notify).notifications
    assert [(one["key"], one["target"], len(one["slug"])) for one in sent] == [
        ("notify.irc", ["#a"], 80),
        ("notify.email", ["x@y"], 80),
    ]


# async steps


class AsyncWorker(Worker):
    @step("Wait")
    async def wait(self, job: Job, *, cancel_first: bool = False) -> None:
        if cancel_first:
            job._attempt.cancel()
        await asyncio.sleep(60)

    @step("TimeOut")
    async def time_out(self, job: Job) -> None:
        threading.Timer(0.01, job._attempt.time_out, [JobTimeout]).start()
        await asyncio.sleep(60)

    @step("Own")
    async def own(self, job: Job) -> None:
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("name", "parameters", "status"),
    [("Wait", {"cancel_first": True}, "cancelled"), ("TimeOut", {}, "failed"), ("Own", {}, "cancelled")],
)
def test_async_step_is_cancelled_where_it_waits_when_told(name: str, parameters: Any, status: str) -> None:
    assert deliver(AsyncWorker, f"async:{name}", parameters).statuses == ["started", status]


def test_async_step_does_not_start_to_wait_when_cancelled_before() -> None:
    harness = Harness(AsyncWorker)
    worker = harness.worker
    perform = type(worker)._perform_attempt

    def cancelled_first(attempt: Any, output: Any) -> None:
        attempt.cancel()
        perform(worker, attempt, output)

    worker._perform_attempt = cancelled_first  # type: ignore[method-assign]  # a seam for the moment before
    from reworker.execution import execute

    headers = headers_of_step(StepHeaders())
    execute(
        worker, harness.station, harness.delivery({"parameters": {"subcommand": "Wait"}}, headers=headers)
    )
    assert b"cancelled" in harness.bus.sent[-1].body


# interrupting a thread


def test_step_in_python_is_interrupted_when_its_time_is_up() -> None:
    def work(job: Job) -> None:
        threading.Timer(0.01, job._attempt.time_out, [JobTimeout]).start()
        while True:
            pass

    transcript = run(work, headers=StepHeaders(deadline_s=9.0))
    assert transcript.final == {"status": "failed", "message": "ran longer than its limit of 9.0 s"}


def test_interruption_does_not_outlive_the_job_when_it_comes_late() -> None:
    interrupt = Interrupt()
    for _ in range(100):
        interrupt.begin()
        with contextlib.suppress(JobTimeout):
            interrupt.fire(JobTimeout)  # of this thread itself: arrives in here, or in `end`
        interrupt.end()
    assert not interrupt.fire(JobTimeout)
    assert sum(range(1000)) == 499500


def test_soft_interruption_is_not_sent_when_nobody_waits_softly() -> None:
    interrupt = Interrupt()
    interrupt.fire_soft(JobCancelled)
    assert interrupt.fired is None


def test_second_interruption_is_not_sent_when_there_was_one() -> None:
    fired: list[Any] = []

    def count(job: Job) -> None:
        job._attempt.interrupt.use(lambda: fired.append(1))
        job._attempt.time_out(JobTimeout)
        job._attempt.time_out(JobTimeout)

    run(count)
    assert fired == [1]

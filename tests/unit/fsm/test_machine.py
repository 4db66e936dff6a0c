"""The machine, event by event: the way of a step, and failure."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import pytest

from reworker.fsm.attempts import HEARTBEAT_SILENCE_S
from reworker.fsm.commands import (
    DispatchStep,
    FinishDeployment,
    Ignored,
    RecordAttempt,
    SendControl,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.events import (
    CancelRequested,
    CancelTimedOut,
    DispatchConfirmed,
    DispatchUnroutable,
    Event,
    HeartbeatLost,
    QueueTimedOut,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyStarted,
    RunTimedOut,
)
from reworker.fsm.machine import replay
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus, DeploymentStatus


def timers(driver, kind=StartTimer):
    return [(one.kind, one.attempt) for one in driver.all(kind)]


def test_submit_dispatches_the_first_step_when_queued(drive):
    driver = drive().submit()
    assert driver.only(DispatchStep) == DispatchStep(attempt=1, step_index=0, tries=1)
    assert driver.only(RecordAttempt).status is AttemptStatus.READY
    assert driver.deployment.status is DeploymentStatus.RUNNING
    assert driver.deployment.created_at == driver.deployment.started_at == driver.events[0].at


def test_submit_completes_at_once_when_plan_is_empty(drive):
    driver = drive()
    driver.plan = Plan(group="g", name="n", sequences=())
    assert driver.submit().deployment.status is DeploymentStatus.COMPLETED


def test_confirm_starts_the_queue_timer_when_ready(drive, step):
    driver = drive(step(queue_timeout_s=7.0)).submit()
    driver.feed(DispatchConfirmed)
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.QUEUE, attempt=1, after_s=7.0)
    assert driver.attempt.status is AttemptStatus.SENT


def test_started_swaps_the_queue_timer_for_the_run_timer_when_step_has_a_timeout(drive, step):
    driver = drive(step(timeout_s=5.0)).start()
    assert driver.only(StopTimer) == StopTimer(kind=TimerKind.QUEUE, attempt=1)
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.RUN, attempt=1, after_s=5.0)
    assert driver.attempt.timers == (TimerKind.RUN,)


def test_started_starts_no_timer_when_step_has_no_timeout(drive):
    driver = drive().start()
    assert driver.attempt.timers == ()


def test_running_watches_the_heartbeat_when_it_comes(drive, step):
    driver = drive(step(timeout_s=5.0)).start()
    driver.feed(ReplyRunning, percent=40.0, message="copying")
    assert driver.only(StartTimer).kind is TimerKind.HEARTBEAT
    assert driver.only(StartTimer).after_s == HEARTBEAT_SILENCE_S
    assert (driver.only(RecordAttempt).percent, driver.only(RecordAttempt).message) == (40.0, "copying")
    driver.feed(ReplyCompleted)
    assert set(timers(driver, StopTimer)) == {(TimerKind.RUN, 1), (TimerKind.HEARTBEAT, 1)}


def test_running_counts_as_started_when_it_comes_first(drive, step):
    driver = drive(step(timeout_s=5.0)).submit()
    driver.feed(DispatchConfirmed)
    driver.feed(ReplyRunning)
    assert driver.attempt.status is AttemptStatus.STARTED
    assert timers(driver) == [(TimerKind.RUN, 1), (TimerKind.HEARTBEAT, 1)]
    assert driver.only(StopTimer).kind is TimerKind.QUEUE


def test_completed_dispatches_the_next_when_steps_remain(drive, step):
    driver = drive(step("a:B"), step("a:C")).start()
    driver.feed(ReplyCompleted, data={"x": 1}, message="fine")
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=1, tries=1)
    done, ready = driver.all(RecordAttempt)
    assert (done.status, done.data, done.message) == (AttemptStatus.COMPLETED, {"x": 1}, "fine")
    assert (ready.attempt, ready.status) == (2, AttemptStatus.READY)


def test_deployment_completes_when_the_last_step_does(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2")).submit()
    for _ in range(4):
        driver.finish_step()
    assert driver.only(FinishDeployment) == FinishDeployment(status=DeploymentStatus.COMPLETED)
    found = driver.deployment
    assert (found.completed_count, found.failed_count, found.skipped_count, found.attempt_count) == (
        4,
        0,
        0,
        4,
    )
    assert found.ended_at == driver.events[-1].at


def test_completed_counts_as_started_when_it_comes_first(drive):
    driver = drive().submit()
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.COMPLETED


def test_confirm_is_ignored_when_the_worker_was_faster(drive):
    driver = drive().submit()
    driver.feed(ReplyStarted)
    before = driver.deployment
    assert driver.feed(DispatchConfirmed) == (Ignored(reason="DispatchConfirmed: attempt 1 is started"),)
    assert driver.deployment is before


@pytest.mark.parametrize("kind", [ReplyStarted, ReplyCompleted, ReplyFailed, ReplyRunning, QueueTimedOut])
def test_event_is_ignored_when_its_attempt_has_ended(drive, step, kind):
    driver = drive(step("a:B"), step("a:C")).start()
    driver.feed(ReplyCompleted)
    before = driver.deployment
    assert driver.feed(kind, attempt=1) == (Ignored(reason=f"{kind.__name__}: attempt 1 is not open"),)
    assert driver.deployment is before


def test_event_is_ignored_when_its_attempt_never_was(drive):
    driver = drive().start()
    driver.feed(ReplyCompleted, attempt=2)
    assert "attempt 2 is not open" in driver.only(Ignored).reason


def test_event_is_ignored_when_the_deployment_has_ended(drive):
    driver = drive().start()
    driver.feed(ReplyCompleted)
    driver.feed(CancelRequested)
    assert driver.only(Ignored).reason == "the deployment has already ended: completed"


def test_event_is_ignored_when_the_machine_does_not_know_it(drive):
    @dataclass(frozen=True, kw_only=True)
    class Invented(Event):
        pass

    driver = drive().submit()
    driver.feed(Invented)
    assert "Invented is not an event of this version" in driver.only(Ignored).reason


def test_failed_ends_the_deployment_when_steps_remain(drive, step):
    driver = drive(step("a:B"), step("a:C"), step("a:D")).submit()
    driver.finish_step()
    driver.feed(ReplyFailed, message="disk full")
    found = driver.deployment
    assert driver.only(FinishDeployment) == FinishDeployment(
        status=DeploymentStatus.FAILED, reason="disk full"
    )
    assert (found.failure.step_index, found.failure.host, found.failure.step) == (1, "web1", "a:C")
    assert (found.failure.attempt, found.failure.reason) == (2, "disk full")
    assert (found.completed_count, found.failed_count, found.skipped_count) == (1, 1, 1)
    assert not driver.all(DispatchStep)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"data": "text of 2014"}, "text of 2014"),
        ({"data": {"a": 1}}, "the worker said failed and gave no reason"),
        ({}, "the worker said failed and gave no reason"),
        ({"message": "m", "data": "d"}, "m"),
        ({"message": "x" * 10_000}, "x" * 500),
    ],
)
def test_failure_has_a_short_reason_when_the_worker_gives_any(drive, fields, reason):
    driver = drive().start()
    driver.feed(ReplyFailed, **fields)
    assert driver.deployment.failure.reason == driver.deployment.reason == reason


@pytest.mark.parametrize(("given", "reason"), [("", "no queue is bound to worker.noop"), ("gone", "gone")])
def test_unroutable_fails_the_deployment_when_no_queue_is_bound(drive, given, reason):
    driver = drive().submit()
    driver.feed(DispatchUnroutable, reason=given)
    assert driver.only(RecordAttempt).status is AttemptStatus.UNROUTABLE
    assert driver.deployment.failure.reason == reason


def test_queue_timeout_cancels_and_fails_when_no_worker_took_it(drive):
    driver = drive().submit()
    driver.feed(DispatchConfirmed)
    driver.feed(QueueTimedOut)
    assert driver.only(RecordAttempt).status is AttemptStatus.TIMED_OUT
    assert driver.only(RecordAttempt).message == "no worker took it: is worker.noop running?"
    assert driver.only(SendControl).command == "noop"
    assert driver.deployment.failure.reason == "no worker took it: is worker.noop running?"
    assert timers(driver, StopTimer) == [(TimerKind.QUEUE, 1)]


@pytest.mark.parametrize("kind", [QueueTimedOut, RunTimedOut, HeartbeatLost, CancelTimedOut])
def test_timer_is_ignored_when_it_does_not_run(drive, kind):
    driver = drive().start()
    driver.feed(kind)
    assert driver.only(Ignored).reason == f"{kind.__name__}: attempt 1 is started"


def test_worker_that_cancels_by_itself_fails_the_deployment_when_nobody_asked(drive):
    driver = drive().start()
    driver.feed(ReplyCancelled, reason="shutting down")
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert driver.deployment.failure.reason == "shutting down"


def test_deployment_stays_small_and_completes_when_it_has_1_000_steps(drive, step):
    driver = drive(*[step("a:B")] * 10, hosts=tuple(f"h{n}" for n in range(100))).submit()
    for _ in range(1_000):
        driver.feed(ReplyCompleted)
    found = replace(driver.deployment, attempts=())
    assert (found.status, found.completed_count) == (DeploymentStatus.COMPLETED, 1_000)
    assert len(repr(found)) < 1000
    assert replay(driver.plan, found.id, driver.events) == driver.deployment


def calls_of_a_run(driver):
    """Return how many Python functions a whole deployment calls."""
    count = 0

    def note(frame, kind, argument):
        nonlocal count
        count += kind == "call"

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        driver.submit()
        while not driver.deployment.status.is_terminal:
            driver.feed(ReplyCompleted)
    finally:
        sys.setprofile(previous)
    return count


def test_work_is_linear_when_a_plan_has_2_000_steps(drive, step):
    small = calls_of_a_run(drive(*[step("a:B")] * 200))
    large = calls_of_a_run(drive(*[step("a:B")] * 2_000))
    assert large < 10.1 * small


def test_heartbeat_leaves_the_snapshot_alone_when_several_hosts_are_at_work(drive):
    driver = drive(hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyRunning)
    before = driver.deployment
    driver.feed_on("h1", ReplyRunning)
    assert driver.deployment == before

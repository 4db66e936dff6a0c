"""Steps that failed and are tried again, with a growing delay."""

from __future__ import annotations

import pytest

from reworker.fsm.attempts import BACKOFF_CAP_S, HEARTBEAT_SILENCE_S
from reworker.fsm.commands import DispatchStep, RecordAttempt, SendControl, StartTimer, TimerKind
from reworker.fsm.events import (
    CancelRequested,
    DelayEnded,
    DispatchConfirmed,
    DispatchUnroutable,
    HeartbeatLost,
    QueueTimedOut,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyUnknown,
)
from reworker.fsm.playbook import OnUnknown, Retry, Sequence
from reworker.fsm.states import AttemptStatus, DeploymentStatus

TWICE = Retry(attempts=2, backoff_s=2.0)


@pytest.mark.parametrize("kind", [ReplyFailed, ReplyCancelled, QueueTimedOut, DispatchUnroutable])
def test_step_is_tried_again_after_a_delay_when_it_ends_badly(drive, step, kind):
    driver = drive(step(retry=TWICE)).submit()
    if kind is not DispatchUnroutable:
        driver.feed(DispatchConfirmed)
    driver.feed(kind)
    assert driver.sent == []
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.DELAY, attempt=2, after_s=2.0)
    assert driver.attempt.status is AttemptStatus.WAITING
    driver.feed(DelayEnded)
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=2)
    driver.feed(ReplyCompleted)
    assert (driver.deployment.status, driver.deployment.failed_count) == (DeploymentStatus.COMPLETED, 0)


def test_step_fails_when_its_attempts_are_used_up(drive, step):
    driver = drive(step(retry=TWICE)).submit()
    driver.feed(ReplyFailed, message="first")
    driver.feed(DelayEnded)
    driver.feed(ReplyFailed, message="second")
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.FAILED, "second")
    assert driver.deployment.failed_count == 1


def test_delay_doubles_up_to_a_limit_when_a_step_fails_again(drive, step):
    driver = drive(step(retry=Retry(attempts=2000, backoff_s=600.0))).submit()
    delays = []
    for _ in range(1999):
        driver.feed(ReplyFailed)
        delays.append(driver.only(StartTimer).after_s)
        driver.feed(DelayEnded)
    assert delays[:3] == [600.0, 1200.0, 2400.0]
    assert set(delays[3:]) == {BACKOFF_CAP_S}


def test_doubt_is_no_failure_to_retry_when_a_step_has_both_policies(drive, step):
    driver = drive(step(retry=TWICE, on_unknown=OnUnknown.ASK)).submit()
    driver.feed(ReplyUnknown)
    assert driver.deployment.status is DeploymentStatus.WAITING


def test_retry_is_dropped_and_counts_as_failed_when_another_host_fails(drive, step):
    driver = drive(step("a:B", retry=TWICE), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyFailed, message="try again")
    driver.feed_on("h2", ReplyFailed)
    driver.feed(DelayEnded, attempt=4)
    driver.feed(ReplyFailed, attempt=4, message="for good")
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert (driver.deployment.failed_count, driver.deployment.skipped_count) == (2, 0)
    dropped = [one for one in driver.all(RecordAttempt) if one.attempt == 3]
    assert [one.status for one in dropped] == [AttemptStatus.CANCELLED]


def test_step_is_not_tried_again_when_the_deployment_is_failing(drive_plan, step):
    driver = drive_plan(
        Sequence(hosts=("h1",), steps=(step("a:B"),), needs=()),
        Sequence(hosts=("h2",), steps=(step("a:C", retry=TWICE),), needs=()),
    ).submit()
    driver.feed_on("h1", ReplyFailed)
    driver.feed_on("h2", ReplyFailed)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert (driver.deployment.attempt_count, driver.deployment.failed_count) == (2, 2)


# tries that a worker makes by itself, within one attempt


def waiting_for_its_next_try(drive, step, **options):
    driver = drive(step(queue_timeout_s=7.0, **options)).start()
    driver.feed(ReplyRunning)
    driver.feed(ReplyRunning, again_in_s=300.0, message="try 1 ended")
    return driver


def test_attempt_stays_open_when_its_next_try_waits_at_the_broker(drive, step):
    driver = waiting_for_its_next_try(drive, step, timeout_s=900.0)
    assert driver.only(StartTimer).kind is TimerKind.HEARTBEAT
    assert driver.only(StartTimer).after_s == 300.0 + 7.0 + HEARTBEAT_SILENCE_S, "nobody beats meanwhile"
    assert driver.attempt.status is AttemptStatus.STARTED
    assert set(driver.attempt.timers) == {TimerKind.RUN, TimerKind.HEARTBEAT}, "all tries share the timeout"


def test_heartbeats_are_watched_as_before_when_the_next_try_has_begun(drive, step):
    driver = waiting_for_its_next_try(drive, step)
    driver.feed(ReplyRunning, message="try 2")
    assert driver.only(StartTimer).after_s == HEARTBEAT_SILENCE_S
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.COMPLETED


def test_cancel_waits_for_the_worker_when_the_next_try_is_still_to_come(drive, step):
    driver = waiting_for_its_next_try(drive, step)
    driver.feed(CancelRequested, reason="enough")
    assert driver.only(SendControl).attempt == 1
    assert driver.all(StartTimer) == [], "a worker that was not told may begin it yet"
    driver.feed(ReplyRunning, message="try 2")
    assert driver.only(SendControl).reason == "enough", "it is told when it shows"
    assert TimerKind.CANCEL in driver.attempt.timers
    driver.feed(ReplyCancelled)
    assert driver.deployment.status is DeploymentStatus.CANCELLED


def test_cancelled_deployment_ends_when_no_worker_takes_the_next_try(drive, step):
    driver = waiting_for_its_next_try(drive, step)
    driver.feed(CancelRequested, reason="enough")
    driver.feed(HeartbeatLost)
    assert driver.deployment.status is DeploymentStatus.CANCELLED

"""Pause, resume and cancel."""

from __future__ import annotations

import pytest

from reworker.fsm.attempts import CANCEL_GRACE_S
from reworker.fsm.commands import (
    DispatchStep,
    FinishDeployment,
    Ignored,
    SendControl,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.events import (
    CancelRequested,
    CancelTimedOut,
    Decided,
    Decision,
    DispatchConfirmed,
    PauseRequested,
    QueueTimedOut,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyStarted,
    ReplyUnknown,
    ResumeRequested,
    Submitted,
)
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.states import DeploymentStatus


def timers(driver, kind=StartTimer):
    return [(one.kind, one.attempt) for one in driver.all(kind)]


def ask(driver):
    """Bring a deployment whose step is not idempotent to `waiting`."""
    driver.start()
    driver.feed(ReplyUnknown, reason="no idea")
    assert driver.deployment.status is DeploymentStatus.WAITING
    return driver


def test_pause_dispatches_nothing_when_the_step_completes(drive, step):
    driver = drive(step("a:B"), step("a:C")).start()
    driver.feed(PauseRequested)
    driver.feed(ReplyCompleted)
    assert not driver.all(DispatchStep)
    assert driver.deployment.status is DeploymentStatus.PAUSED
    driver.feed(ResumeRequested)
    assert driver.only(DispatchStep).step_index == 1
    assert driver.deployment.status is DeploymentStatus.RUNNING


def test_resume_dispatches_nothing_when_the_step_still_runs(drive):
    driver = drive().start()
    driver.feed(PauseRequested)
    assert driver.feed(ResumeRequested) == ()
    assert driver.deployment.status is DeploymentStatus.RUNNING


@pytest.mark.parametrize(
    ("kind", "status"),
    [(ReplyCompleted, DeploymentStatus.COMPLETED), (ReplyFailed, DeploymentStatus.FAILED)],
)
def test_pause_ends_when_the_last_step_does(drive, kind, status):
    driver = drive().start()
    driver.feed(PauseRequested)
    driver.feed(kind)
    assert driver.deployment.status is status


def test_pause_holds_the_retry_back_when_a_step_is_in_doubt(drive, step):
    driver = drive(step(on_unknown=OnUnknown.RETRY)).start()
    driver.feed(PauseRequested)
    driver.feed(ReplyUnknown)
    assert not driver.all(DispatchStep)
    driver.feed(ResumeRequested)
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=2)


def test_resume_asks_when_a_step_came_into_doubt_meanwhile(drive):
    driver = drive().start()
    driver.feed(PauseRequested)
    driver.feed(ReplyUnknown, reason="no idea")
    assert driver.deployment.status is DeploymentStatus.PAUSED
    driver.feed(ResumeRequested)
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.WAITING, "no idea")


def test_pause_stays_when_a_doubt_is_decided(drive, step):
    driver = ask(drive(step("a:B"), step("a:C")))
    driver.feed(PauseRequested)
    driver.feed(Decided, decision=Decision.COMPLETE)
    assert driver.deployment.status is DeploymentStatus.PAUSED
    assert not driver.all(DispatchStep)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Submitted, "the deployment was submitted before"),
        (ResumeRequested, "cannot resume a deployment that is running"),
    ],
)
def test_request_is_ignored_when_it_does_not_fit(drive, kind, reason):
    driver = drive().start()
    driver.feed(kind)
    assert driver.only(Ignored).reason == reason


def test_pause_is_ignored_when_not_submitted(drive):
    driver = drive()
    driver.feed(PauseRequested)
    assert driver.only(Ignored).reason == "cannot pause a deployment that is queued"


def test_cancel_tells_the_worker_and_waits_when_an_attempt_is_open(drive):
    driver = drive().start()
    driver.feed(CancelRequested, actor="ann", reason="wrong version")
    assert driver.only(SendControl) == SendControl(attempt=1, command="noop", reason="wrong version")
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.CANCEL, attempt=1, after_s=CANCEL_GRACE_S)
    assert driver.deployment.status is DeploymentStatus.CANCELLING
    driver.feed(CancelRequested)
    assert driver.only(Ignored).reason == "cannot cancel a deployment that is cancelling"


@pytest.mark.parametrize(
    ("kind", "completed", "failed", "skipped"),
    [
        (ReplyCancelled, 0, 0, 2),
        (ReplyCompleted, 1, 0, 1),
        (ReplyFailed, 0, 1, 1),
        (ReplyUnknown, 0, 0, 2),
        (CancelTimedOut, 0, 0, 2),
    ],
)
def test_cancel_ends_when_the_attempt_does(drive, step, kind, completed, failed, skipped):
    driver = drive(step("a:B"), step("a:C")).start()
    driver.feed(CancelRequested)
    driver.feed(kind)
    found = driver.deployment
    assert driver.only(FinishDeployment) == FinishDeployment(
        status=DeploymentStatus.CANCELLED, reason="cancelled on request"
    )
    assert (found.completed_count, found.failed_count, found.skipped_count) == (completed, failed, skipped)
    assert timers(driver, StopTimer) == [(TimerKind.CANCEL, 1)]


def test_cancel_lets_the_attempt_move_on_when_it_is_just_beginning(drive):
    driver = drive().submit()
    driver.feed(CancelRequested)
    driver.feed(DispatchConfirmed)
    driver.feed(ReplyStarted)
    assert driver.attempt.timers == (TimerKind.CANCEL,)
    assert driver.deployment.status is DeploymentStatus.CANCELLING


def test_cancel_waits_for_the_queue_when_a_worker_that_is_away_may_still_begin_the_step(drive):
    driver = drive().submit()
    driver.feed(DispatchConfirmed)
    driver.feed(CancelRequested, reason="enough")
    assert driver.only(SendControl).attempt == 1
    assert driver.attempt.timers == (TimerKind.QUEUE,)
    driver.feed(QueueTimedOut)
    assert driver.deployment.status is DeploymentStatus.CANCELLED


def test_cancel_tells_the_worker_again_when_it_begins_a_step_that_lay_in_its_queue(drive):
    driver = drive().submit()
    driver.feed(DispatchConfirmed)
    driver.feed(CancelRequested, reason="enough")
    driver.feed(ReplyStarted)
    assert driver.only(SendControl) == SendControl(attempt=1, command="noop", reason="enough")
    assert driver.attempt.timers == (TimerKind.CANCEL,)
    driver.feed(ReplyCancelled)
    assert driver.deployment.status is DeploymentStatus.CANCELLED


def test_cancel_gives_its_grace_up_when_the_message_reaches_a_queue_after_all(drive):
    driver = drive().submit()
    driver.feed(CancelRequested)
    driver.feed(DispatchConfirmed)
    assert driver.attempt.timers == (TimerKind.QUEUE,)


def test_cancel_of_version_1_ends_as_it_did_when_its_step_lay_in_a_queue(drive):
    driver = drive().submit()
    driver.feed(DispatchConfirmed)
    driver.feed(CancelRequested)
    driver.feed(CancelTimedOut)
    assert driver.deployment.status is DeploymentStatus.CANCELLED


def test_cancel_ends_at_once_when_not_submitted(drive):
    driver = drive()
    driver.feed(CancelRequested)
    assert driver.deployment.status is DeploymentStatus.CANCELLED
    assert driver.deployment.skipped_count == 1


def test_cancel_ends_at_once_when_paused_between_steps(drive, step):
    driver = drive(step("a:B"), step("a:C")).start()
    driver.feed(PauseRequested)
    driver.feed(ReplyCompleted)
    driver.feed(CancelRequested)
    assert driver.deployment.status is DeploymentStatus.CANCELLED


def test_cancel_tells_the_worker_and_ends_at_once_when_a_step_is_in_doubt(drive):
    driver = ask(drive())
    driver.feed(CancelRequested)
    assert driver.only(SendControl).attempt == 1
    assert driver.deployment.status is DeploymentStatus.CANCELLED
    assert driver.deployment.attempts == ()

"""Steps in doubt that are looked at before anything else is done."""

from __future__ import annotations

import pytest

from reworker.fsm.attempts import CANCEL_GRACE_S, MAX_TRIES_IN_DOUBT
from reworker.fsm.commands import DispatchStep, RecordAttempt, SendControl, StartTimer, TimerKind
from reworker.fsm.events import (
    Decided,
    Decision,
    DelayEnded,
    DispatchConfirmed,
    DispatchUnknown,
    DispatchUnroutable,
    HeartbeatLost,
    PauseRequested,
    QueueTimedOut,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyStarted,
    ReplyUnknown,
    ResumeRequested,
    RunTimedOut,
)
from reworker.fsm.plan import Role
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.states import AttemptStatus, DeploymentStatus


@pytest.fixture
def doubt(drive, step):
    """Give a deployment that verifies its first of two steps, as attempt 2."""

    def begin(**options):
        restart = step("a:Restart", verify=step("a:Status"), on_unknown=OnUnknown.VERIFY)
        driver = drive(restart, step("a:Last"), **options).submit()
        driver.feed(ReplyUnknown, reason="power cut")
        return driver

    return begin


def test_doubt_is_verified_when_the_step_says_how(doubt):
    driver = doubt()
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=1, role=Role.VERIFY)
    assert driver.sent == ["a:Status@web1"]
    assert driver.deployment.status is DeploymentStatus.RUNNING


@pytest.mark.parametrize("kind", [RunTimedOut, HeartbeatLost])
def test_step_is_verified_when_its_worker_has_had_time_to_stop(drive, step, kind):
    restart = step("a:Restart", verify=step("a:Status"), on_unknown=OnUnknown.VERIFY, timeout_s=1.0)
    driver = drive(restart).start()
    driver.feed(ReplyRunning)
    driver.feed(kind)
    assert driver.only(SendControl).attempt == 1
    assert driver.sent == []
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.DELAY, attempt=2, after_s=CANCEL_GRACE_S)
    driver.feed(DelayEnded)
    assert driver.sent == ["a:Status@web1"]


def test_step_counts_as_completed_when_it_is_verified(doubt):
    driver = doubt()
    driver.feed(ReplyCompleted)
    assert driver.sent == ["a:Last@web1"]
    assert driver.deployment.completed == ((0, 1),)


def test_step_is_dispatched_again_when_it_proves_not_done(doubt):
    driver = doubt()
    driver.feed(ReplyFailed)
    assert driver.only(DispatchStep) == DispatchStep(attempt=3, step_index=0, tries=2)
    driver.feed(ReplyCompleted)
    assert driver.sent == ["a:Last@web1"]
    assert driver.deployment.failed_count == 0


def test_people_are_asked_when_the_tries_are_used_up(doubt):
    driver = doubt()
    for _ in range(MAX_TRIES_IN_DOUBT - 1):
        driver.feed(ReplyFailed)
        driver.feed(ReplyUnknown)
    driver.feed(ReplyFailed, message="not running")
    assert driver.deployment.status is DeploymentStatus.WAITING
    assert driver.deployment.reason == "it was tried 3 times and is not done: not running"


@pytest.mark.parametrize("kind", [ReplyUnknown, ReplyCancelled, QueueTimedOut, DispatchUnroutable])
def test_people_are_asked_about_the_verification_when_it_is_not_clear_either(doubt, kind):
    driver = doubt()
    if kind is not DispatchUnroutable:
        driver.feed(DispatchConfirmed)
    driver.feed(kind)
    assert driver.deployment.status is DeploymentStatus.WAITING
    assert driver.deployment.reason.startswith("it could not be verified: ")
    last = driver.all(RecordAttempt)[-1]
    assert (last.attempt, last.role, last.status) == (2, Role.VERIFY, AttemptStatus.UNKNOWN)


def test_deployment_fails_when_the_verification_is_not_clear_and_nobody_can_be_asked(doubt):
    driver = doubt(unattended=True)
    driver.feed(ReplyUnknown, reason="no idea")
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert "it could not be verified: no idea" in driver.deployment.reason


@pytest.mark.parametrize(
    ("decision", "sent", "completed_count"),
    [
        (Decision.RETRY, ["a:Restart@web1"], 0),
        (Decision.SKIP, ["a:Last@web1"], 0),
        (Decision.COMPLETE, ["a:Last@web1"], 1),
        (Decision.FAIL, [], 0),
    ],
)
def test_decision_is_about_the_step_when_its_verification_is_in_doubt(doubt, decision, sent, completed_count):
    driver = doubt()
    driver.feed(ReplyUnknown)
    driver.feed(Decided, decision=decision)
    assert driver.sent == sent
    assert driver.deployment.completed_count == completed_count


def test_step_is_verified_again_when_it_came_into_doubt_after_a_decision(doubt):
    driver = doubt()
    driver.feed(ReplyUnknown)
    driver.feed(Decided, decision=Decision.RETRY)
    driver.feed(ReplyUnknown)
    assert driver.sent == ["a:Status@web1"]


def test_people_are_asked_when_the_message_may_still_lie_in_a_queue(drive, step):
    restart = step("a:Restart", verify=step("a:Status"), on_unknown=OnUnknown.VERIFY)
    driver = drive(restart).submit()
    driver.feed(DispatchUnknown)
    assert driver.deployment.status is DeploymentStatus.WAITING


def test_people_are_asked_when_there_is_no_way_to_verify(drive, step):
    driver = drive(step(on_unknown=OnUnknown.VERIFY)).submit()
    driver.feed(ReplyUnknown)
    assert driver.deployment.status is DeploymentStatus.WAITING


def test_verification_waits_for_resume_when_paused(drive, step):
    restart = step("a:Restart", verify=step("a:Status"), on_unknown=OnUnknown.VERIFY)
    driver = drive(restart).start()
    driver.feed(PauseRequested)
    driver.feed(ReplyUnknown)
    assert driver.sent == []
    driver.feed(ResumeRequested)
    assert driver.sent == ["a:Status@web1"]


def test_verification_may_run_as_a_step_does_when_it_has_begun(doubt):
    driver = doubt()
    driver.feed(DispatchConfirmed)
    driver.feed(ReplyStarted)
    assert driver.attempt.status is AttemptStatus.STARTED
    assert driver.attempt.role is Role.VERIFY

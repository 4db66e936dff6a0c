"""Steps of which nobody knows whether they took effect, and what a person decides about them."""

from __future__ import annotations

import pytest

from reworker.fsm.attempts import MAX_TRIES_IN_DOUBT, MAX_TRIES_UNBEGUN
from reworker.fsm.commands import (
    DispatchStep,
    Ignored,
    RecordAttempt,
    SendControl,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.events import (
    Decided,
    Decision,
    DispatchConfirmed,
    DispatchUnknown,
    DispatchUnroutable,
    HeartbeatLost,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyStarted,
    ReplyUnknown,
    RunTimedOut,
)
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.states import AttemptStatus, DeploymentStatus


def timers(driver, kind=StartTimer):
    return [(one.kind, one.attempt) for one in driver.all(kind)]


def ask(driver):
    """Bring a deployment whose step is not idempotent to `waiting`."""
    driver.start()
    driver.feed(ReplyUnknown, reason="no idea")
    assert driver.deployment.status is DeploymentStatus.WAITING
    return driver


def test_unknown_retries_when_the_policy_says_so(drive, step):
    driver = drive(step(on_unknown=OnUnknown.RETRY)).start()
    driver.feed(ReplyUnknown)
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=2)
    assert driver.attempt.number == 2
    driver.finish_step()
    assert driver.deployment.status is DeploymentStatus.COMPLETED


@pytest.mark.parametrize(
    ("unattended", "status"), [(False, DeploymentStatus.WAITING), (True, DeploymentStatus.FAILED)]
)
def test_unknown_stops_to_retry_when_the_tries_are_used_up(drive, step, unattended, status):
    driver = drive(step(on_unknown=OnUnknown.RETRY), unattended=unattended).submit()
    for _ in range(MAX_TRIES_IN_DOUBT):
        driver.feed(ReplyStarted)
        driver.feed(ReplyUnknown, reason="crashed")
    assert driver.deployment.attempt_count == MAX_TRIES_IN_DOUBT
    assert driver.deployment.status is status
    assert "crashed" in driver.deployment.reason


def test_tries_begin_anew_when_the_next_step_comes(drive, step):
    driver = drive(step("a:B", on_unknown=OnUnknown.RETRY), step("a:C")).submit()
    driver.feed(ReplyUnknown)
    driver.feed(ReplyCompleted)
    assert driver.only(DispatchStep) == DispatchStep(attempt=3, step_index=1, tries=1)


def test_unknown_fails_when_the_policy_says_so(drive, step):
    driver = drive(step(on_unknown=OnUnknown.FAIL)).start()
    driver.feed(ReplyUnknown, reason="power cut")
    assert driver.deployment.failure.reason == "it is not known whether the step took effect: power cut"


@pytest.mark.parametrize("is_in_plan", [True, False])
def test_unknown_fails_when_nobody_can_be_asked(drive, is_in_plan):
    driver = drive(unattended=is_in_plan).submit(unattended=not is_in_plan)
    driver.feed(ReplyUnknown)
    assert driver.deployment.status is DeploymentStatus.FAILED


def test_unknown_waits_for_a_person_when_the_policy_is_to_ask(drive):
    driver = ask(drive())
    assert driver.only(RecordAttempt).status is AttemptStatus.UNKNOWN
    assert driver.deployment.reason == "no idea"
    assert driver.attempt.status is AttemptStatus.UNKNOWN
    assert driver.attempt.timers == ()
    assert not driver.all(SendControl)


@pytest.mark.parametrize(
    ("kind", "reason"), [(RunTimedOut, "may still be running"), (HeartbeatLost, "fell silent for 60 s")]
)
def test_silent_worker_is_told_to_stop_when_a_timer_ends(drive, step, kind, reason):
    driver = drive(step(timeout_s=5.0)).start()
    driver.feed(ReplyRunning)
    driver.feed(kind)
    assert driver.deployment.status is DeploymentStatus.WAITING
    assert reason in driver.only(SendControl).reason
    assert set(timers(driver, StopTimer)) == {(TimerKind.RUN, 1), (TimerKind.HEARTBEAT, 1)}


def test_run_timeout_retries_when_the_step_is_idempotent(drive, step):
    driver = drive(step(timeout_s=5.0, is_idempotent=True, on_unknown=OnUnknown.RETRY)).start()
    driver.feed(RunTimedOut)
    assert driver.only(SendControl).attempt == 1
    assert driver.only(DispatchStep).attempt == 2


@pytest.mark.parametrize("kind", [ReplyStarted, ReplyCompleted, ReplyFailed, ReplyUnknown, DispatchConfirmed])
def test_late_reply_is_ignored_when_the_worker_had_its_say(drive, kind):
    driver = ask(drive())
    driver.feed(kind)
    assert driver.only(Ignored).reason == f"{kind.__name__}: attempt 1 is unknown"


@pytest.mark.parametrize(
    ("kind", "attempt", "deployment"),
    [
        (DispatchConfirmed, AttemptStatus.SENT, DeploymentStatus.RUNNING),
        (ReplyStarted, AttemptStatus.STARTED, DeploymentStatus.RUNNING),
        (ReplyRunning, AttemptStatus.STARTED, DeploymentStatus.RUNNING),
        (ReplyCompleted, AttemptStatus.COMPLETED, DeploymentStatus.COMPLETED),
        (ReplyFailed, AttemptStatus.FAILED, DeploymentStatus.FAILED),
        (ReplyCancelled, AttemptStatus.CANCELLED, DeploymentStatus.FAILED),
        (DispatchUnroutable, AttemptStatus.UNROUTABLE, DeploymentStatus.FAILED),
        (ReplyUnknown, AttemptStatus.UNKNOWN, DeploymentStatus.WAITING),
    ],
)
def test_doubt_about_a_publish_ends_when_the_message_proves_to_have_arrived(drive, kind, attempt, deployment):
    driver = drive().submit()
    driver.feed(DispatchUnknown, reason="the core died")
    assert driver.deployment.status is DeploymentStatus.WAITING
    driver.feed(kind)
    assert driver.only(RecordAttempt).status is attempt
    assert driver.deployment.status is deployment
    assert "the core died" not in driver.deployment.reason
    assert not any(attempt.is_unconfirmed for attempt in driver.deployment.attempts)


def test_second_doubt_stays_when_the_worker_itself_does_not_know(drive):
    driver = drive().submit()
    driver.feed(DispatchUnknown)
    driver.feed(ReplyUnknown)
    driver.feed(ReplyCompleted)
    assert driver.all(Ignored)


def test_decision_retry_dispatches_again_when_waiting(drive):
    driver = ask(drive())
    driver.feed(Decided, decision=Decision.RETRY, actor="ann")
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=2)
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.RUNNING, "")


def test_decision_skip_goes_on_when_waiting(drive, step):
    driver = ask(drive(step("a:B"), step("a:C")))
    driver.feed(Decided, decision=Decision.SKIP)
    assert driver.only(DispatchStep).step_index == 1
    driver.feed(ReplyCompleted)
    found = driver.deployment
    assert (found.status, found.completed_count, found.skipped_count) == (DeploymentStatus.COMPLETED, 1, 1)


def test_decision_complete_goes_on_when_waiting(drive, step):
    driver = ask(drive(step("a:B"), step("a:C")))
    driver.feed(Decided, decision=Decision.COMPLETE, reason="I looked")
    assert driver.all(RecordAttempt)[0].status is AttemptStatus.COMPLETED
    assert driver.all(RecordAttempt)[0].message == "I looked"
    assert driver.deployment.completed_count == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"reason": "broken"}, "broken"),
        ({"actor": "ann"}, "decided by ann"),
        ({}, "decided by a person"),
    ],
)
def test_decision_fail_fails_when_waiting(drive, fields, reason):
    driver = ask(drive())
    driver.feed(Decided, decision=Decision.FAIL, **fields)
    assert driver.deployment.failure.reason == reason


def test_decision_is_ignored_when_nothing_is_in_doubt(drive):
    driver = drive().start()
    driver.feed(Decided, decision=Decision.SKIP)
    assert driver.only(Ignored).reason == "attempt 1 waits for no decision"
    driver.feed(Decided, decision=Decision.SKIP, attempt=9)
    assert driver.only(Ignored).reason == "attempt 9 waits for no decision"


def test_decision_is_ignored_when_it_is_none(drive):
    driver = ask(drive())
    driver.feed(Decided, decision="maybe")
    assert driver.only(Ignored).reason == "'maybe' is no decision: retry, skip, fail, complete"


def test_doubt_has_a_reason_when_the_event_brings_none(drive):
    driver = drive().submit()
    driver.feed(DispatchUnknown)
    reason = "the message may or may not have reached the broker"
    assert driver.deployment.reason == driver.only(RecordAttempt).message == reason


@pytest.mark.parametrize("decision", list(Decision))
def test_message_is_called_back_when_a_person_ends_the_doubt_about_its_publish(drive, decision):
    driver = drive().submit()
    driver.feed(DispatchUnknown)
    assert not driver.all(SendControl), "while people think, an answer may still end the doubt"
    driver.feed(Decided, decision=decision)
    assert driver.only(SendControl).attempt == 1


@pytest.mark.parametrize("policy", [OnUnknown.FAIL, OnUnknown.RETRY, OnUnknown.ASK])
def test_message_is_called_back_when_its_attempt_is_given_up_by_the_policy(drive, step, policy):
    driver = drive(step(on_unknown=policy)).submit(unattended=True)
    driver.feed(DispatchUnknown)
    assert driver.only(SendControl).attempt == 1


def test_nothing_is_called_back_when_the_worker_is_in_doubt(drive):
    driver = ask(drive())
    driver.feed(Decided, decision=Decision.RETRY)
    assert not driver.all(SendControl)


def unbegun(driver):
    driver.feed(DispatchConfirmed)
    return driver.feed(ReplyUnknown, reason="lost", unless_started=True)


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_step_that_never_began_is_sent_again_whatever_is_done_in_doubt(drive, step, policy):
    driver = drive(step(on_unknown=policy), unattended=True).submit()
    unbegun(driver)
    assert driver.only(DispatchStep) == DispatchStep(attempt=2, step_index=0, tries=2)
    records = [(one.attempt, one.status) for one in driver.all(RecordAttempt)]
    assert (1, AttemptStatus.UNKNOWN) in records
    assert "had not begun" in driver.all(RecordAttempt)[0].message
    driver.finish_step()
    assert driver.deployment.status is DeploymentStatus.COMPLETED


def test_step_that_has_begun_is_in_doubt_though_its_next_worker_did_not_know(drive, step):
    driver = drive(step(on_unknown=OnUnknown.FAIL), unattended=True).start()
    driver.feed(ReplyUnknown, reason="lost", unless_started=True)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert "lost" in driver.deployment.reason


def test_step_that_never_begins_is_not_sent_for_ever(drive, step):
    driver = drive(step(on_unknown=OnUnknown.FAIL), unattended=True).submit()
    for _ in range(MAX_TRIES_UNBEGUN):
        assert driver.deployment.status is DeploymentStatus.RUNNING
        unbegun(driver)
    assert driver.deployment.attempt_count == MAX_TRIES_UNBEGUN
    assert driver.deployment.status is DeploymentStatus.FAILED

"""Taking back what took effect, after a failure."""

from __future__ import annotations

import pytest

from reworker.fsm.commands import DispatchStep, FinishDeployment, StartTimer, TimerKind
from reworker.fsm.events import (
    CancelRequested,
    CancelTimedOut,
    Decided,
    Decision,
    DelayEnded,
    PauseRequested,
    ReplyCancelled,
    ReplyCompleted,
    ReplyFailed,
    ReplyUnknown,
    ResumeRequested,
    RunTimedOut,
)
from reworker.fsm.plan import Role
from reworker.fsm.playbook import OnUnknown, Retry
from reworker.fsm.states import DeploymentStatus


@pytest.fixture
def undo(step):
    """Give ``undo("a:B", ...)``: a step that ``a:UndoB`` takes back."""

    def make(key, rollback=None, **fields):
        command, _, subcommand = key.partition(":")
        return step(key, rollback=step(f"{command}:Undo{subcommand}", **(rollback or {})), **fields)

    return make


@pytest.fixture
def rolling_back(drive, undo, step):
    """Give a deployment that takes back its first step, as attempt 3, because its second failed."""

    def begin(**rollback):
        driver = drive(undo("a:B", rollback), step("a:C")).submit()
        driver.feed(ReplyCompleted)
        driver.feed(ReplyFailed, message="disk full")
        assert driver.deployment.status is DeploymentStatus.ROLLING_BACK
        return driver

    return begin


def test_steps_are_taken_back_in_reverse_when_one_fails(drive, undo, step):
    driver = drive(undo("a:B"), undo("a:C"), step("a:D"), step("a:E"), hosts=("h1", "h2")).submit()
    for _ in range(7):
        driver.feed(ReplyCompleted)
    driver.feed(ReplyFailed, message="disk full")
    found = []
    while not driver.deployment.status.is_terminal:
        assert driver.only(DispatchStep).role is Role.ROLLBACK
        found += driver.sent
        driver.feed(ReplyCompleted)
    assert found == ["a:UndoC@h2", "a:UndoB@h2", "a:UndoC@h1", "a:UndoB@h1"]
    assert driver.only(FinishDeployment) == FinishDeployment(
        status=DeploymentStatus.ROLLED_BACK, reason="disk full"
    )
    assert (driver.deployment.rolled_back_count, driver.deployment.completed_count) == (4, 7)


def test_deployment_just_fails_when_nothing_has_to_be_taken_back(drive, undo):
    driver = drive(undo("a:B")).submit()
    driver.feed(ReplyFailed)
    assert driver.deployment.status is DeploymentStatus.FAILED


def test_rollback_waits_when_another_host_is_at_work(drive, undo):
    driver = drive(undo("a:B"), undo("a:C"), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyCompleted)
    driver.feed_on("h2", ReplyFailed)
    assert driver.sent == []
    driver.feed_on("h1", ReplyCompleted)
    assert driver.sent == ["a:UndoC@h1"]


@pytest.mark.parametrize(
    ("kind", "sent"),
    [(ReplyUnknown, True), (RunTimedOut, True), (ReplyCancelled, True), (ReplyFailed, False)],
)
def test_step_is_taken_back_when_it_may_have_taken_effect(drive, undo, kind, sent):
    risky = undo("a:B", timeout_s=5.0)
    driver = drive(risky, hosts=("h1", "h2"), batch_count=2).start()
    driver.feed_on("h1", ReplyFailed)
    driver.feed_on("h2", kind)
    assert driver.sent == (["a:UndoB@h2"] if sent else [])


@pytest.mark.parametrize(
    ("decision", "sent"),
    [(Decision.FAIL, ["a:UndoB@h1"]), (Decision.SKIP, ["a:UndoB@h1"]), (Decision.RETRY, ["a:UndoB@h1"])],
)
def test_step_is_taken_back_when_it_was_in_doubt_before_a_decision(drive, undo, decision, sent):
    driver = drive(undo("a:B"), hosts=("h1", "h2")).submit()
    driver.feed(ReplyUnknown)
    driver.feed(Decided, decision=decision)
    if decision is not Decision.FAIL:
        driver.feed(ReplyFailed)
    assert driver.sent == sent


def test_step_is_taken_back_when_a_try_was_in_doubt_and_the_next_failed(drive, undo):
    driver = drive(undo("a:B", on_unknown=OnUnknown.RETRY)).submit()
    driver.feed(ReplyUnknown)
    driver.feed(ReplyFailed)
    assert driver.sent == ["a:UndoB@web1"]


def test_step_is_taken_back_when_its_worker_stopped_midway_and_the_next_try_failed(drive, undo):
    driver = drive(undo("a:B", retry=Retry(attempts=2))).submit()
    driver.feed(ReplyCancelled)
    driver.feed(DelayEnded)
    driver.feed(ReplyFailed)
    assert driver.sent == ["a:UndoB@web1"]


def test_step_is_not_taken_back_when_it_proved_not_done(drive, undo, step):
    risky = undo("a:B", verify=step("a:Look"), on_unknown=OnUnknown.VERIFY)
    driver = drive(risky).submit()
    driver.feed(ReplyUnknown)
    driver.feed(ReplyFailed)
    driver.feed(ReplyFailed)
    assert driver.deployment.status is DeploymentStatus.FAILED


@pytest.mark.parametrize(("kind", "is_taken_back"), [(ReplyFailed, False), (ReplyUnknown, True)])
def test_verification_tells_what_is_taken_back_when_another_host_failed(
    drive, undo, step, kind, is_taken_back
):
    risky = undo("a:B", verify=step("a:Look"), on_unknown=OnUnknown.VERIFY)
    driver = drive(risky, hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyUnknown)
    driver.feed_on("h2", ReplyFailed)
    driver.feed_on("h1", kind)
    assert driver.sent == (["a:UndoB@h1"] if is_taken_back else [])


def test_open_doubt_is_taken_back_when_another_host_failed(drive, undo):
    driver = drive(undo("a:B"), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyUnknown, reason="no idea")
    assert driver.deployment.status is DeploymentStatus.RUNNING
    driver.feed_on("h2", ReplyFailed)
    assert driver.sent == ["a:UndoB@h1"]
    assert driver.deployment.failed_count == 2


def test_doubt_that_was_to_be_retried_is_taken_back_when_another_host_failed_meanwhile(drive, undo):
    driver = drive(undo("a:B", on_unknown=OnUnknown.RETRY), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed(PauseRequested)
    driver.feed_on("h1", ReplyUnknown)
    driver.feed_on("h2", ReplyFailed)
    driver.feed(ResumeRequested)
    assert driver.sent == ["a:UndoB@h1"]
    assert (driver.deployment.failed_count, driver.deployment.completed_count) == (2, 0)


def test_rollback_is_tried_again_when_it_says_so(rolling_back):
    driver = rolling_back(retry=Retry(attempts=2, backoff_s=4.0))
    driver.feed(ReplyFailed)
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.DELAY, attempt=4, after_s=4.0)
    driver.feed(DelayEnded)
    assert driver.only(DispatchStep) == DispatchStep(attempt=4, step_index=0, tries=2, role=Role.ROLLBACK)
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.ROLLED_BACK


def test_rollback_fails_when_a_step_cannot_be_taken_back(drive, undo, step):
    driver = drive(undo("a:B"), undo("a:C"), step("a:D")).submit()
    driver.feed(ReplyCompleted)
    driver.feed(ReplyCompleted)
    driver.feed(ReplyFailed, message="disk full")
    driver.feed(ReplyFailed, message="no way back")
    assert driver.only(FinishDeployment) == FinishDeployment(
        status=DeploymentStatus.ROLLBACK_FAILED,
        reason="disk full; rollback: a:UndoC on web1: no way back",
    )
    assert driver.deployment.failed_count == 1


def test_rollback_asks_when_it_is_in_doubt(rolling_back):
    driver = rolling_back()
    driver.feed(ReplyUnknown, reason="no idea")
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.WAITING, "no idea")


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        (Decision.RETRY, DeploymentStatus.ROLLING_BACK),
        (Decision.SKIP, DeploymentStatus.ROLLED_BACK),
        (Decision.COMPLETE, DeploymentStatus.ROLLED_BACK),
        (Decision.FAIL, DeploymentStatus.ROLLBACK_FAILED),
    ],
)
def test_decision_is_about_the_way_back_when_that_is_in_doubt(rolling_back, decision, status):
    driver = rolling_back()
    driver.feed(ReplyUnknown)
    driver.feed(Decided, decision=decision)
    assert driver.deployment.status is status
    assert (driver.deployment.completed_count, driver.deployment.skipped_count) == (1, 0)


def test_rollback_stops_when_paused_and_goes_on_when_resumed(drive, undo, step):
    driver = drive(undo("a:B"), undo("a:C"), step("a:D")).submit()
    driver.feed(ReplyCompleted)
    driver.feed(ReplyCompleted)
    driver.feed(ReplyFailed)
    driver.feed(PauseRequested)
    driver.feed(ReplyCompleted)
    assert (driver.sent, driver.deployment.status) == ([], DeploymentStatus.PAUSED)
    driver.feed(ResumeRequested)
    assert (driver.sent, driver.deployment.status) == (["a:UndoB@web1"], DeploymentStatus.ROLLING_BACK)


def test_deployment_ends_after_resume_when_its_rollback_ended_while_paused(rolling_back):
    driver = rolling_back()
    driver.feed(PauseRequested)
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.PAUSED
    driver.feed(ResumeRequested)
    assert driver.deployment.status is DeploymentStatus.ROLLED_BACK


def test_rollback_begins_after_resume_when_the_step_failed_while_paused(drive, undo, step):
    driver = drive(undo("a:B"), step("a:C")).submit()
    driver.feed(ReplyCompleted)
    driver.feed(PauseRequested)
    driver.feed(ReplyFailed)
    assert (driver.sent, driver.deployment.status) == ([], DeploymentStatus.PAUSED)
    driver.feed(ResumeRequested)
    assert driver.sent == ["a:UndoB@web1"]


@pytest.mark.parametrize(("kind", "count"), [(ReplyCompleted, 1), (CancelTimedOut, 0)])
def test_cancel_ends_a_rollback_when_the_worker_has_answered_or_not(rolling_back, kind, count):
    driver = rolling_back()
    driver.feed(CancelRequested)
    driver.feed(kind)
    assert driver.deployment.status is DeploymentStatus.CANCELLED
    assert (driver.deployment.rolled_back_count, driver.deployment.completed_count) == (count, 1)


def test_steps_of_an_earlier_deployment_are_taken_back_when_this_one_fails(drive, undo, step):
    driver = drive(undo("a:B"), step("a:C")).submit(done=((0, 1),))
    driver.feed(ReplyFailed)
    assert driver.sent == ["a:UndoB@web1"]

"""Checks before and actions after the execution, locks, the timeout of all of it, and its notices."""

from __future__ import annotations

import pytest

from reworker.fsm.attempts import CANCEL_GRACE_S
from reworker.fsm.commands import (
    DispatchStep,
    FinishDeployment,
    Ignored,
    ReleaseLocks,
    RequestLocks,
    SendControl,
    SendNotification,
    StartTimer,
    StopTimer,
    TimerKind,
)
from reworker.fsm.events import (
    CancelRequested,
    CancelTimedOut,
    Decided,
    Decision,
    DeploymentTimedOut,
    LocksAwaited,
    LocksDue,
    LocksGranted,
    PauseRequested,
    ReplyCompleted,
    ReplyFailed,
    ReplyUnknown,
    ResumeRequested,
)
from reworker.fsm.playbook import Expectation, Sequence
from reworker.fsm.rules import PhaseNotice
from reworker.fsm.states import DeploymentStatus
from reworker.fsm.turn import REASON_CHARACTERS

DEPLOYMENT_TIMER = {"kind": TimerKind.DEPLOYMENT, "attempt": 0}


@pytest.fixture
def staged(drive_plan, step):
    """Give a deployment with two checks, one step that can be taken back, and two actions."""
    execution = Sequence(hosts=("web1",), steps=(step("a:Do", rollback=step("a:Undo")), step("a:More")))
    return drive_plan(
        execution,
        checks=(step("c:One"), step("c:Two")),
        actions=(step("p:One"), step("p:Two")),
    )


UNMET = "the reply is not what is expected: "


def go_well(driver, count):
    found = list(driver.sent)
    for _ in range(count):
        driver.feed(ReplyCompleted)
        found += driver.sent
    return found


def test_checks_come_first_and_actions_last_when_all_goes_well(staged):
    staged.submit()
    assert go_well(staged, 6) == ["c:One@", "c:Two@", "a:Do@web1", "a:More@web1", "p:One@", "p:Two@"]
    assert staged.deployment.status is DeploymentStatus.COMPLETED


def test_nothing_is_deployed_but_actions_are_done_when_a_check_fails(staged):
    staged.submit()
    staged.feed(ReplyFailed, message="a change freeze")
    assert go_well(staged, 2) == ["p:One@", "p:Two@"]
    assert (staged.deployment.status, staged.deployment.reason) == (
        DeploymentStatus.FAILED,
        "a change freeze",
    )


def test_nothing_is_taken_back_when_a_check_fails_of_a_deployment_that_continues_another(staged):
    staged.submit(done=((2, 3),))
    staged.feed(ReplyFailed)
    assert staged.sent == ["p:One@"]


def test_actions_are_done_after_the_rollback_when_a_step_fails(staged):
    staged.submit()
    go_well(staged, 3)
    staged.feed(ReplyFailed, message="disk full")
    assert go_well(staged, 3) == ["a:Undo@web1", "p:One@", "p:Two@"]
    assert staged.only(FinishDeployment).status is DeploymentStatus.ROLLED_BACK


@pytest.mark.parametrize("good_count", [4, 5])
def test_actions_end_and_the_deployment_fails_when_one_of_them_does(staged, good_count):
    staged.submit()
    go_well(staged, good_count)
    staged.feed(ReplyFailed, message="nobody listens")
    assert not staged.all(DispatchStep)
    assert (staged.deployment.status, staged.deployment.reason) == (
        DeploymentStatus.FAILED,
        "nobody listens",
    )
    assert staged.deployment.skipped_count == 5 - good_count


def test_first_failure_stays_when_an_action_fails_too(staged):
    staged.submit()
    staged.feed(ReplyFailed, message="a change freeze")
    staged.feed(ReplyFailed, message="nobody listens")
    assert (staged.deployment.status, staged.deployment.reason) == (
        DeploymentStatus.FAILED,
        "a change freeze",
    )


def test_action_asks_when_it_is_in_doubt_after_a_failure(staged):
    staged.submit()
    staged.feed(ReplyFailed)
    staged.feed(ReplyUnknown)
    assert staged.deployment.status is DeploymentStatus.WAITING
    staged.feed(Decided, decision=Decision.SKIP)
    assert staged.sent == ["p:Two@"]


@pytest.mark.parametrize("good_count", [1, 2, 3, 4, 5])
def test_next_stage_waits_for_resume_when_paused(staged, good_count):
    staged.submit()
    go_well(staged, good_count - 1)
    staged.feed(PauseRequested)
    staged.feed(ReplyCompleted)
    assert (staged.sent, staged.deployment.status) == ([], DeploymentStatus.PAUSED)
    staged.feed(ResumeRequested)
    go_well(staged, 6 - good_count)
    assert (staged.deployment.status, staged.deployment.completed_count) == (DeploymentStatus.COMPLETED, 6)


@pytest.mark.parametrize(
    ("kind", "fields", "is_met", "reason"),
    [
        (ReplyCompleted, {"data": "ok"}, True, ""),
        (ReplyCompleted, {"data": "no"}, False, f'{UNMET}data: wanted "ok", found "no"'),
        (ReplyCompleted, {}, False, f'{UNMET}data: wanted "ok", found nothing'),
        (
            ReplyCompleted,
            {"data": "no", "message": "come back later"},
            False,
            f'{UNMET}data: wanted "ok", found "no"; it says: come back later',
        ),
        (
            ReplyFailed,
            {"data": "ok"},
            False,
            f'{UNMET}status: wanted "completed", found "failed"; it says: ok',
        ),
        (
            ReplyFailed,
            {"message": "x" * 1000},
            False,
            f'{UNMET}status: wanted "completed", found "failed"; it says: {"x" * 1000}'[:REASON_CHARACTERS],
        ),
    ],
)
def test_check_is_held_against_what_is_expected_when_it_has_an_expectation(
    drive_plan, step, kind, fields, is_met, reason
):
    check = step("c:One", expectation=Expectation(body={"status": "completed", "data": "ok"}))
    driver = drive_plan(Sequence(hosts=("web1",), steps=(step("a:B"),)), checks=(check,)).submit()
    driver.feed(kind, **fields)
    assert driver.sent == (["a:B@web1"] if is_met else [])
    assert driver.deployment.reason == reason


def test_check_is_met_when_it_fails_as_expected(drive_plan, step):
    check = step("c:One", expectation=Expectation(body={"status": "failed"}, is_subset=True))
    driver = drive_plan(Sequence(hosts=("web1",), steps=(step("a:B"),)), checks=(check,)).submit()
    driver.feed(ReplyFailed, message="there is no such host")
    assert driver.sent == ["a:B@web1"]


@pytest.fixture
def locked(drive_plan, step):
    """Give a deployment that takes the lock of its host."""
    return drive_plan(Sequence(hosts=("web1",), steps=(step("a:B"),)), takes_locks=True).submit()


def test_deployment_asks_for_its_locks_first_when_submitted(locked):
    assert locked.commands == (RequestLocks(),)
    assert locked.deployment.status is DeploymentStatus.QUEUED
    assert locked.deployment.started_at is None


def test_steps_carry_the_fence_when_the_locks_are_granted(locked):
    locked.feed(LocksGranted, fence=7)
    assert locked.only(DispatchStep).fence == 7
    assert locked.deployment.status is DeploymentStatus.RUNNING


def test_deployment_says_for_whom_it_waits_when_a_lock_is_held(locked):
    locked.feed(LocksAwaited, lock="host:web1", holder="abc")
    reason = "waits for host web1, which deployment abc holds or asked for first"
    assert (locked.deployment.status, locked.deployment.reason) == (DeploymentStatus.QUEUED, reason)
    locked.feed(LocksAwaited, lock="host:web1", holder="abc")
    assert locked.only(Ignored).reason == "it waits for the same lock"
    locked.feed(LocksDue)
    assert locked.commands == (RequestLocks(),)
    locked.feed(LocksGranted, fence=8)
    assert locked.deployment.reason == ""


def test_locks_are_released_when_the_deployment_ends(locked):
    locked.feed(LocksGranted, fence=7)
    locked.feed(ReplyCompleted)
    assert locked.only(ReleaseLocks)


def test_place_in_the_queue_is_given_up_when_cancelled(locked):
    locked.feed(CancelRequested)
    assert locked.only(ReleaseLocks)
    assert locked.deployment.status is DeploymentStatus.CANCELLED


@pytest.mark.parametrize(
    ("kind", "fields"),
    [(LocksGranted, {"fence": 9}), (LocksAwaited, {"lock": "host:x", "holder": "y"}), (LocksDue, {})],
)
def test_lock_event_is_ignored_when_no_lock_is_awaited(locked, kind, fields):
    locked.feed(LocksGranted, fence=7)
    locked.feed(kind, **fields)
    assert locked.only(Ignored).reason == "the deployment does not wait for locks"


@pytest.fixture
def limited(drive_plan, step):
    """Give a deployment of two hosts at once that has to end within 90 seconds."""
    steps = (step("a:B", rollback=step("a:Undo")), step("a:C"))
    return drive_plan(Sequence(hosts=("h1", "h2"), steps=steps, batch_count=2), timeout_s=90.0).submit()


def test_deployment_timer_runs_from_the_start_to_the_end_when_there_is_a_timeout(limited):
    assert StartTimer(**DEPLOYMENT_TIMER, after_s=90.0) in limited.commands
    for host in ("h1", "h2", "h1", "h2"):
        limited.feed_on(host, ReplyCompleted)
    assert StopTimer(**DEPLOYMENT_TIMER) in limited.commands
    assert limited.deployment.timers == ()


def test_workers_are_told_to_stop_when_the_deployment_times_out(limited):
    limited.feed(DeploymentTimedOut)
    assert [one.attempt for one in limited.all(SendControl)] == [1, 2]
    graces = [one for one in limited.all(StartTimer) if one.kind is TimerKind.CANCEL]
    assert [one.after_s for one in graces] == [CANCEL_GRACE_S] * 2
    limited.feed_on("h1", ReplyCompleted)
    limited.feed_on("h2", CancelTimedOut)
    assert limited.sent == ["a:Undo@h2"]
    limited.feed(ReplyCompleted)
    limited.feed(ReplyCompleted)
    assert limited.deployment.status is DeploymentStatus.ROLLED_BACK
    assert limited.deployment.reason == "it did not end within its timeout of 90 s"
    assert limited.deployment.failure.step_index == -1


def test_timeout_fails_a_deployment_when_it_waits_for_people(drive_plan, step):
    driver = drive_plan(Sequence(hosts=("h1",), steps=(step("a:B"),)), timeout_s=90.0).submit()
    driver.feed(ReplyUnknown)
    driver.feed(DeploymentTimedOut)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert driver.deployment.failed_count == 1


@pytest.mark.parametrize("kind", [CancelRequested, ReplyFailed])
def test_deployment_timer_stops_when_the_end_has_begun(limited, kind):
    limited.feed(kind)
    assert StopTimer(**DEPLOYMENT_TIMER) in limited.commands
    limited.feed(DeploymentTimedOut)
    assert limited.only(Ignored).reason == "the deployment's timeout does not run"


def test_sequence_that_has_not_begun_is_silent_when_the_deployment_times_out(drive_plan, step):
    silent = {"failed": {"irc": ("#web",)}}
    driver = drive_plan(
        Sequence(hosts=("h1",), steps=(step("a:B"),), notify=silent),
        checks=(step("c:One"),),
        timeout_s=90.0,
    ).submit()
    driver.feed(PauseRequested)
    driver.feed(ReplyCompleted)
    driver.feed(DeploymentTimedOut)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert not driver.all(SendNotification)


@pytest.mark.parametrize(("kind", "phase"), [(ReplyCompleted, "completed"), (ReplyFailed, "failed")])
@pytest.mark.parametrize(("url", "told"), [("https://x/%s", ". See https://x/{}"), ("", "")])
def test_notice_tells_of_start_and_end_when_the_operator_wants_it(drive_plan, step, kind, phase, url, told):
    notice = PhaseNotice(topic="releases", targets=("#ops",), url=url)
    driver = drive_plan(Sequence(hosts=("h1",), steps=(step("a:B"),)), notice=notice).submit()
    number = driver.deployment.id
    started = driver.only(SendNotification)
    assert (started.topic, started.targets, started.phase) == ("releases", ("#ops",), "started")
    assert started.message == f"Release {number} started{told.format(number)}"
    driver.feed(kind)
    assert driver.only(SendNotification).message == f"Release {number} {phase}{told.format(number)}"

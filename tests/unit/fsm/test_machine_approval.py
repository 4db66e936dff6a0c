"""Steps that wait for people's consent."""

from __future__ import annotations

import pytest

from reworker.fsm.commands import Ignored, RecordAttempt, StartTimer, TimerKind
from reworker.fsm.events import (
    ApprovalExpired,
    Approved,
    CancelRequested,
    Decided,
    Decision,
    DelayEnded,
    PauseRequested,
    Refused,
    ReplyCompleted,
    ReplyFailed,
    ReplyUnknown,
    ResumeRequested,
)
from reworker.fsm.plan import Role
from reworker.fsm.playbook import Approval
from reworker.fsm.states import AttemptStatus, DeploymentStatus


@pytest.fixture
def ask(drive, step):
    """Give a deployment that ann started and that waits for an approval before its only step."""

    def begin(unattended=False, **fields):
        approval = step("approval", approval=Approval(text="looks good?", **fields))
        return drive(approval, step("a:B"), unattended=unattended).submit(actor="ann")

    return begin


def test_deployment_waits_when_it_comes_to_an_approval(ask):
    driver = ask()
    assert driver.deployment.status is DeploymentStatus.WAITING
    assert driver.deployment.reason == "approval: looks good?"
    assert (driver.attempt.role, driver.attempt.status) == (Role.APPROVAL, AttemptStatus.WAITING)
    assert driver.only(RecordAttempt).message == "approval: looks good?"


def test_deployment_goes_on_when_it_is_approved(ask):
    driver = ask()
    driver.feed(Approved, actor="bob")
    assert driver.sent == ["a:B@web1"]
    assert driver.all(RecordAttempt)[0].message == "approved by bob"
    assert (driver.deployment.completed_count, driver.deployment.reason) == (1, "")


def test_approval_needs_as_many_people_as_it_says_when_they_are_several(ask):
    driver = ask(of=2)
    driver.feed(Approved, actor="bob")
    assert driver.sent == []
    assert driver.only(RecordAttempt).message == "approved by bob; 1 more needed"
    driver.feed(Approved, actor="bob")
    assert driver.only(Ignored).reason == "bob has approved it already"
    driver.feed(Approved, actor="cid")
    assert driver.sent == ["a:B@web1"]
    assert driver.all(RecordAttempt)[0].message == "approved by bob, cid"


def test_one_without_a_name_counts_once_when_two_have_to_approve(ask):
    driver = ask(of=2)
    driver.feed(Approved)
    driver.feed(Approved)
    assert driver.only(Ignored).reason == "this person has approved it already"


@pytest.mark.parametrize(("actor", "is_enough"), [("ann", False), ("bob", True)])
def test_who_started_it_cannot_approve_when_it_has_to_be_another(ask, actor, is_enough):
    driver = ask(is_not_self=True)
    driver.feed(Approved, actor=actor)
    assert driver.sent == (["a:B@web1"] if is_enough else [])
    if not is_enough:
        assert "by another person than ann who started it" in driver.only(Ignored).reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"actor": "bob", "reason": "wrong week"}, "wrong week"),
        ({"actor": "bob"}, "bob did not approve it"),
        ({}, "a person did not approve it"),
    ],
)
def test_deployment_fails_when_it_is_refused(ask, fields, reason):
    driver = ask()
    driver.feed(Refused, **fields)
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.FAILED, reason)


def test_deployment_fails_when_nobody_approves_in_time(ask):
    driver = ask(expires_s=60.0)
    assert driver.only(StartTimer) == StartTimer(kind=TimerKind.APPROVAL, attempt=1, after_s=60.0)
    driver.feed(ApprovalExpired)
    assert driver.deployment.reason == "nobody approved it within 60 s"
    assert driver.all(RecordAttempt)[0].status is AttemptStatus.TIMED_OUT


def test_deployment_fails_when_it_is_unattended(ask):
    driver = ask(unattended=True)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert driver.deployment.reason == "it needs an approval, and the deployment is unattended"
    assert driver.all(RecordAttempt)[-1].status is AttemptStatus.FAILED


@pytest.mark.parametrize("kind", [Approved, Refused])
def test_consent_is_ignored_when_the_attempt_asks_for_none(drive, step, kind):
    driver = drive(step(delay_s=5.0)).submit()
    driver.feed(kind)
    assert (
        "needs no approval" in driver.only(Ignored).reason
        or "waits for no approval" in driver.only(Ignored).reason
    )
    driver.feed(kind, attempt=7)
    assert driver.only(Ignored)
    assert driver.attempt.status is AttemptStatus.WAITING


@pytest.mark.parametrize("kind", [DelayEnded, ReplyCompleted, ReplyUnknown])
def test_approval_ends_by_consent_only_when_other_events_come(ask, kind):
    driver = ask()
    driver.feed(kind)
    assert driver.only(Ignored)


def test_decision_is_ignored_when_consent_is_asked_for(ask):
    driver = ask()
    driver.feed(Decided, decision=Decision.COMPLETE)
    assert driver.only(Ignored).reason == "attempt 1 waits for no decision"


def test_consent_counts_when_paused(ask):
    driver = ask()
    driver.feed(PauseRequested)
    driver.feed(Approved, actor="bob")
    assert (driver.sent, driver.deployment.status) == ([], DeploymentStatus.PAUSED)
    driver.feed(ResumeRequested)
    assert driver.sent == ["a:B@web1"]


def test_approval_is_withdrawn_when_cancelled(ask):
    driver = ask(expires_s=60.0)
    driver.feed(CancelRequested)
    assert driver.deployment.status is DeploymentStatus.CANCELLED
    assert driver.all(RecordAttempt)[0].status is AttemptStatus.CANCELLED


def test_approval_is_withdrawn_when_another_host_fails(drive, step):
    approval = step("approval", approval=Approval(text="well?"))
    driver = drive(step("a:B"), approval, hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyCompleted)
    assert (driver.deployment.status, driver.deployment.reason) == (
        DeploymentStatus.RUNNING,
        "approval: well?",
    )
    driver.feed_on("h2", ReplyFailed, message="disk full")
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.FAILED, "disk full")


def test_reason_is_what_is_still_open_when_one_of_two_questions_is_answered(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyUnknown, reason="first")
    driver.feed_on("h2", ReplyUnknown, reason="second")
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.WAITING, "first")
    driver.feed_on("h1", Decided, decision=Decision.COMPLETE)
    assert (driver.deployment.status, driver.deployment.reason) == (DeploymentStatus.RUNNING, "second")
    driver.feed_on("h1", ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.WAITING

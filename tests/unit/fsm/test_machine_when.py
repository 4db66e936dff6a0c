"""Steps that are done only if an earlier one completed, or did not."""

from __future__ import annotations

import pytest

from reworker.fsm.commands import RecordAttempt
from reworker.fsm.events import Decided, Decision, ReplyCompleted, ReplyFailed, ReplyUnknown
from reworker.fsm.playbook import Sequence, When
from reworker.fsm.states import AttemptStatus, DeploymentStatus


def conditional(step, **when):
    return step("a:Look", id="look"), step("a:Then", when=When(step="look", **when)), step("a:Last")


@pytest.mark.parametrize(
    ("when", "data", "sent"),
    [
        ({}, None, "a:Then@web1"),
        ({"is_negated": True}, None, "a:Last@web1"),
        ({"data": {"changed": True}}, {"changed": True, "more": 1}, "a:Then@web1"),
        ({"data": {"changed": True}}, {"changed": False}, "a:Last@web1"),
        ({"data": {"changed": True}}, None, "a:Last@web1"),
        ({"data": {"changed": True}, "is_negated": True}, None, "a:Then@web1"),
    ],
)
def test_step_depends_on_an_earlier_one_when_it_says_so(drive, step, when, data, sent):
    driver = drive(*conditional(step, **when)).submit()
    driver.feed(ReplyCompleted, data=data)
    assert driver.sent == [sent]


def test_step_left_out_has_an_attempt_that_says_why_when_its_condition_does_not_hold(drive, step):
    driver = drive(*conditional(step, data={"x": 1})).submit()
    driver.feed(ReplyCompleted)
    (left_out,) = [one for one in driver.all(RecordAttempt) if one.status is AttemptStatus.SKIPPED]
    assert (left_out.attempt, left_out.step_index, left_out.is_new) == (2, 1, True)
    assert left_out.message == "left out: look did not complete with the data asked for"
    driver.feed(ReplyCompleted)
    found = driver.deployment
    assert (found.completed_count, found.skipped_count, found.attempt_count) == (2, 1, 3)


def test_reason_says_that_the_other_step_completed_when_it_should_not_have(drive, step):
    driver = drive(*conditional(step, is_negated=True)).submit()
    driver.feed(ReplyCompleted)
    assert driver.all(RecordAttempt)[1].message == "left out: look did complete"


@pytest.mark.parametrize(("decision", "sent"), [(Decision.SKIP, "a:Last"), (Decision.COMPLETE, "a:Then")])
def test_condition_follows_the_decision_when_the_earlier_step_was_in_doubt(drive, step, decision, sent):
    driver = drive(*conditional(step)).submit()
    driver.feed(ReplyUnknown)
    driver.feed(Decided, decision=decision)
    assert driver.sent == [f"{sent}@web1"]


def test_condition_is_about_the_same_host_when_both_steps_are_in_one_sequence(drive, step):
    driver = drive(
        step("a:Look", id="look"),
        step("a:Then", when=When(step="look", data={"x": 1})),
        hosts=("h1", "h2"),
        batch_count=2,
    ).submit()
    driver.feed_on("h1", ReplyCompleted, data={"x": 1})
    assert driver.sent == ["a:Then@h1"]
    driver.feed_on("h2", ReplyCompleted)
    assert driver.sent == []


def test_condition_is_about_any_host_when_the_steps_are_in_two_sequences(drive_plan, step):
    then = step("a:Then", when=When(step="look", data={"x": 1}))
    driver = drive_plan(
        Sequence(hosts=("h1", "h2"), steps=(step("a:Look", id="look"),)),
        Sequence(hosts=("h3",), steps=(then,)),
    ).submit()
    driver.feed(ReplyCompleted, data={"x": 1})
    driver.feed(ReplyCompleted)
    assert driver.sent == ["a:Then@h3"]


@pytest.mark.parametrize("last", [ReplyCompleted, ReplyFailed])
def test_facts_of_a_host_are_forgotten_when_it_has_ended(drive, step, last):
    driver = drive(*conditional(step), hosts=("h1", "h2"), max_failure_count=1).submit()
    driver.feed(ReplyCompleted)
    assert driver.deployment.facts == ("0.1@0",)
    driver.feed(ReplyCompleted)
    driver.feed(last)
    assert driver.deployment.facts == ()
    assert driver.sent == ["a:Look@h2"]


def test_deployment_ends_when_every_step_of_a_sequence_is_left_out(drive_plan, step):
    asks = step("a:Then", when=When(step="look", is_negated=True))
    driver = drive_plan(
        Sequence(hosts=("h1",), steps=(step("a:Look", id="look"),)),
        Sequence(hosts=("h1", "h2"), steps=(asks, asks)),
    ).submit()
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.COMPLETED
    assert driver.deployment.skipped_count == 4


def test_condition_holds_when_the_earlier_deployment_found_it(drive, step):
    driver = drive(*conditional(step)).submit(done=((0, 1),), facts=("0.1@0",))
    assert driver.sent == ["a:Then@web1"]

"""Hosts in batches, sequences side by side, hosts that fail, and what an earlier deployment has done."""

from __future__ import annotations

import pytest

from reworker.fsm.commands import DispatchStep, FinishDeployment
from reworker.fsm.deployment import MAX_TRACKS
from reworker.fsm.events import DelayEnded, PauseRequested, ReplyCompleted, ReplyFailed, ResumeRequested
from reworker.fsm.playbook import Sequence
from reworker.fsm.states import DeploymentStatus


def test_batch_begins_on_all_its_hosts_when_submitted(drive):
    driver = drive(hosts=("h1", "h2", "h3"), batch_count=2).submit()
    assert driver.sent == ["noop:Run@h1", "noop:Run@h2"]


def test_next_batch_waits_when_a_host_of_this_one_is_at_work(drive):
    driver = drive(hosts=("h1", "h2", "h3"), batch_count=2).submit()
    driver.feed_on("h2", ReplyCompleted)
    assert driver.sent == []
    driver.feed_on("h1", ReplyCompleted)
    assert driver.sent == ["noop:Run@h3"]


def test_hosts_go_on_by_themselves_when_they_are_in_one_batch(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h2", ReplyCompleted)
    assert driver.sent == ["a:C@h2"]


def test_hosts_at_work_are_limited_when_a_batch_is_larger(drive):
    names = tuple(f"h{n}" for n in range(MAX_TRACKS + 5))
    driver = drive(hosts=names, batch_count=len(names)).submit()
    assert len(driver.sent) == len(driver.deployment.tracks) == MAX_TRACKS
    driver.feed_on("h7", ReplyCompleted)
    assert driver.sent == [f"noop:Run@h{MAX_TRACKS}"]


def test_sequences_run_side_by_side_when_they_need_no_other(drive_plan, step):
    driver = drive_plan(
        Sequence(hosts=("h1",), steps=(step("a:B"),), needs=()),
        Sequence(hosts=("h2",), steps=(step("a:C"),), needs=()),
    ).submit()
    assert driver.sent == ["a:B@h1", "a:C@h2"]


def test_sequence_waits_when_another_that_it_needs_has_not_ended(drive_plan, step):
    driver = drive_plan(
        Sequence(id="one", hosts=("h1",), steps=(step("a:B"),), needs=()),
        Sequence(id="two", hosts=("h2",), steps=(step("a:C"),), needs=()),
        Sequence(hosts=("h3",), steps=(step("a:D"),), needs=("one", "two")),
    ).submit()
    driver.feed_on("h2", ReplyCompleted)
    assert driver.sent == []
    driver.feed_on("h1", ReplyCompleted)
    assert driver.sent == ["a:D@h3"]


def test_snapshot_stays_small_when_a_thousand_sequences_need_no_other(drive_plan, step):
    sequences = [Sequence(hosts=(f"h{n}",), steps=(step(),), needs=()) for n in range(1000)]
    driver = drive_plan(*sequences).submit()
    assert len(driver.deployment.sequences) == MAX_TRACKS
    assert driver.deployment.ready == ((MAX_TRACKS, 1000),)


def test_failed_host_ends_its_way_when_failures_are_allowed(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"), max_failure_count=1).submit()
    driver.feed(ReplyFailed, message="disk full")
    assert driver.sent == ["a:B@h2"]
    assert driver.deployment.status is DeploymentStatus.RUNNING
    driver.feed(ReplyCompleted)
    driver.feed(ReplyCompleted)
    found = driver.deployment
    assert (found.status, found.failure) == (DeploymentStatus.COMPLETED, None)
    assert (found.completed_count, found.failed_count, found.skipped_count) == (2, 1, 1)


def test_deployment_fails_when_one_host_too_many_does(drive):
    driver = drive(hosts=("h1", "h2", "h3"), max_failure_count=1).submit()
    driver.feed(ReplyFailed, message="first")
    driver.feed(ReplyFailed, message="second")
    assert driver.only(FinishDeployment).status is DeploymentStatus.FAILED
    assert (driver.deployment.failure.host, driver.deployment.reason) == ("h2", "second")


def test_other_hosts_may_end_their_step_when_the_deployment_is_failing(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyFailed, message="disk full")
    assert driver.deployment.status is DeploymentStatus.RUNNING
    driver.feed_on("h2", ReplyCompleted)
    assert not driver.all(DispatchStep)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert (driver.deployment.completed_count, driver.deployment.failed_count) == (1, 1)


def test_first_failure_is_told_when_another_host_fails_too(drive):
    driver = drive(hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h2", ReplyFailed, message="first")
    driver.feed_on("h1", ReplyFailed, message="second")
    assert (driver.deployment.failure.host, driver.deployment.reason) == ("h2", "first")
    assert driver.deployment.failed_count == 2


def test_delay_is_dropped_when_the_deployment_is_failing(drive, step):
    slow = step("a:C", delay_s=9.0)
    driver = drive(step("a:B"), slow, hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyCompleted)
    driver.feed_on("h2", ReplyFailed)
    assert driver.deployment.status is DeploymentStatus.FAILED
    assert driver.deployment.skipped_count == 2


def test_step_is_dispatched_later_when_it_has_a_delay(drive, step):
    driver = drive(step(delay_s=9.0)).submit()
    assert driver.sent == []
    driver.feed(DelayEnded)
    assert driver.sent == ["noop:Run@web1"]
    assert driver.attempt.timers == ()


def test_delayed_step_waits_for_resume_when_paused(drive, step):
    driver = drive(step(delay_s=9.0)).submit()
    driver.feed(PauseRequested)
    driver.feed(DelayEnded)
    assert driver.sent == []
    driver.feed(ResumeRequested)
    assert driver.sent == ["noop:Run@web1"]


def test_done_steps_are_passed_over_when_an_earlier_deployment_did_them(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"))
    driver.submit(done=((0, 1), (2, 4)))
    assert driver.sent == ["a:C@h1"]
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.COMPLETED
    assert driver.deployment.completed_count == 4


def test_steps_are_left_out_when_the_submission_says_so(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"))
    driver.submit(left_out=((0, 2), (3, 4)))
    assert driver.deployment.skipped_count == 3
    assert driver.sent == ["a:B@h2"]
    driver.feed(ReplyCompleted)
    assert driver.deployment.status is DeploymentStatus.COMPLETED
    assert (driver.deployment.completed_count, driver.deployment.skipped_count) == (1, 3)


@pytest.mark.parametrize("done", [((-5, 99),), ((1, 2), (0, 2)), ((0, 1), (1, 2), (1, 9))])
def test_deployment_completes_at_once_when_all_was_done_however_that_is_said(drive, step, done):
    driver = drive(step("a:B"), step("a:C")).submit(done=done, left_out=((0, 7),))
    assert driver.deployment.status is DeploymentStatus.COMPLETED
    assert (driver.deployment.completed, driver.deployment.skipped_count) == (((0, 2),), 0)

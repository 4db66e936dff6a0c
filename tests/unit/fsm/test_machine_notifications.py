"""What steps and sequences tell people."""

from __future__ import annotations

from reworker.fsm.commands import (
    DispatchStep,
    SendNotification,
)
from reworker.fsm.events import (
    DelayEnded,
    ReplyCompleted,
    ReplyFailed,
    ReplyUnknown,
)
from reworker.fsm.playbook import Approval, OnUnknown, Retry

NOTIFY = {phase: {"irc": ("#web",), "email": ("a@b",)} for phase in ("started", "completed", "failed")}


def phases(driver):
    return [(one.transport, one.phase) for one in driver.all(SendNotification)]


def test_step_notifies_once_per_transport_when_phases_come(drive, step):
    driver = drive(step("a:B", notify=NOTIFY), step("a:C", notify=NOTIFY)).submit()
    assert phases(driver) == [("irc", "started"), ("email", "started")]
    first = driver.all(SendNotification)[0]
    assert first.slug == "Started step: a:B on web1"
    assert first.targets == ("#web",)
    assert first.message == "Started step: a:B on web1 (n, deployment 0123456789ab0123456789ab)"
    driver.feed(ReplyCompleted)
    assert [phase for _, phase in phases(driver)] == ["completed", "completed", "started", "started"]
    driver.feed(ReplyFailed, message="disk full")
    assert [phase for _, phase in phases(driver)] == ["failed", "failed"]
    assert driver.all(SendNotification)[0].message.startswith("Failed step: a:C on web1: disk full (")


def test_step_notifies_no_second_start_when_it_is_tried_again(drive, step):
    driver = drive(step(notify=NOTIFY, on_unknown=OnUnknown.RETRY)).start()
    driver.feed(ReplyUnknown)
    assert driver.all(DispatchStep)
    assert phases(driver) == []


def test_sequence_notifies_at_its_ends_when_it_has_hosts_and_steps(drive, step):
    driver = drive(step("a:B"), step("a:C"), hosts=("h1", "h2"), notify=NOTIFY, description="shop").submit()
    assert phases(driver) == [("irc", "started"), ("email", "started")]
    assert driver.all(SendNotification)[0].slug == "Started sequence: shop"
    for _ in range(3):
        driver.finish_step()
        assert phases(driver) == []
    driver.finish_step()
    assert phases(driver) == [("irc", "completed"), ("email", "completed")]


def test_sequence_notifies_failure_when_a_step_fails(drive):
    driver = drive(notify=NOTIFY).start()
    driver.feed(ReplyFailed, message="disk full")
    message = driver.all(SendNotification)[0].message
    assert message.startswith("Failed sequence: number 1: noop:Run on web1: disk full")


def test_slug_is_cut_when_names_are_long(drive, step):
    driver = drive(step("a" * 100 + ":B", notify=NOTIFY)).submit()
    assert len(driver.all(SendNotification)[0].slug) == 80


def test_sequence_tells_of_its_failure_once_when_a_second_host_fails(drive):
    driver = drive(hosts=("h1", "h2"), batch_count=2, notify=NOTIFY).submit()
    driver.feed_on("h1", ReplyFailed)
    assert phases(driver) == [("irc", "failed"), ("email", "failed")]
    driver.feed_on("h2", ReplyFailed)
    assert phases(driver) == []


def test_sequence_does_not_complete_when_its_approval_cannot_be_asked_for(drive, step):
    approval = step("approval", approval=Approval(text="well?"))
    driver = drive(approval, unattended=True, notify=NOTIFY).submit()
    assert phases(driver) == [
        ("irc", "started"),
        ("email", "started"),
        ("irc", "failed"),
        ("email", "failed"),
    ]


def test_approval_tells_whom_it_asks_when_it_notifies(drive, step):
    driver = drive(step("approval", approval=Approval(text="well?"), notify=NOTIFY)).submit()
    assert phases(driver) == [("irc", "started"), ("email", "started")]
    assert "approval: well?" in driver.all(SendNotification)[0].message


def test_step_tells_of_its_failure_when_its_retry_is_dropped(drive, step):
    again = step("a:B", retry=Retry(attempts=2), notify=NOTIFY)
    driver = drive(again, hosts=("h1", "h2"), batch_count=2).submit()
    driver.feed_on("h1", ReplyFailed)
    assert phases(driver) == []
    driver.feed_on("h2", ReplyFailed)
    driver.feed(DelayEnded, attempt=4)
    driver.feed(ReplyFailed, attempt=4)
    slugs = [one.slug for one in driver.all(SendNotification) if one.transport == "irc"]
    assert slugs == ["Failed step: a:B on h2", "Failed step: a:B on h1"]

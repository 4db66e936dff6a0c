"""What steps and sequences tell people."""

from __future__ import annotations

from reworker.fsm.commands import (
    DispatchStep,
    SendNotification,
)
from reworker.fsm.events import (
    ReplyCompleted,
    ReplyFailed,
    ReplyUnknown,
)
from reworker.fsm.playbook import OnUnknown

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

"""Events and snapshots survive the way through JSON."""

from __future__ import annotations

import msgspec
import pytest

from reworker.core.codec import decode_event, decode_snapshot, encode_snapshot
from reworker.fsm.deployment import Deployment
from reworker.fsm.events import (
    EVENT_KINDS,
    CancelRequested,
    Decided,
    Decision,
    DispatchConfirmed,
    Event,
    ReplyFailed,
    ReplyRunning,
    ReplyUnknown,
)
from reworker.fsm.states import ATTEMPT_TRANSITIONS
from tests.unit.fsm.rows import event_row


@pytest.mark.parametrize("kind", [*EVENT_KINDS.values(), ReplyRunning])
def test_event_is_the_same_when_read_back(drive, kind):
    driver = drive().submit()
    driver.feed(kind, **({"decision": Decision.SKIP} if kind is Decided else {}))
    event = driver.events[-1]
    found = decode_event(event_row(event))
    assert found == event
    assert type(found) is kind


def test_event_keeps_its_decision_when_read_back(drive):
    driver = drive().submit()
    driver.feed(Decided, decision=Decision.SKIP)
    assert decode_event(event_row(driver.events[-1])).decision is Decision.SKIP


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kind": "Invented"}, KeyError),
        ({"data": b"broken"}, msgspec.DecodeError),
        ({"data": b"[]"}, TypeError),
        ({"data": b'{"attempt": "one"}'}, msgspec.ValidationError),
    ],
)
def test_event_raises_when_its_row_is_none_of_ours(drive, wrong, error):
    row = event_row(drive().start().events[-1])
    with pytest.raises(error):
        decode_event(msgspec.structs.replace(row, **wrong))


def test_event_kinds_name_every_event_when_tables_do():
    assert {name for _, name in ATTEMPT_TRANSITIONS} <= EVENT_KINDS.keys()
    assert all(issubclass(kind, Event) for kind in EVENT_KINDS.values())


@pytest.mark.parametrize(
    "last", [DispatchConfirmed, ReplyRunning, ReplyUnknown, ReplyFailed, CancelRequested]
)
def test_deployment_is_the_same_when_read_back(drive, last):
    driver = drive().submit()
    driver.feed(last)
    assert decode_snapshot(encode_snapshot(driver.deployment)) == driver.deployment


def test_deployment_is_the_same_when_read_back_before_submit():
    assert decode_snapshot(encode_snapshot(Deployment(id="x"))) == Deployment(id="x")

"""Events and snapshots survive the way through JSON."""

from __future__ import annotations

import json

import pytest

from reworker.fsm.deployment import Deployment, deployment_from_json, deployment_to_json
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
    event_from_json,
    event_to_json,
)
from reworker.fsm.states import ATTEMPT_TRANSITIONS


def through_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("kind", [*EVENT_KINDS.values(), ReplyRunning])
def test_event_is_the_same_when_read_back(drive, kind):
    driver = drive().submit()
    driver.feed(kind, **({"decision": Decision.SKIP} if kind is Decided else {}))
    event = driver.events[-1]
    found = event_from_json(through_json(event_to_json(event)))
    assert found == event
    assert type(found) is kind


def test_event_keeps_its_decision_when_read_back(drive):
    driver = drive().submit()
    driver.feed(Decided, decision=Decision.SKIP)
    assert event_from_json(through_json(event_to_json(driver.events[-1]))).decision is Decision.SKIP


@pytest.mark.parametrize("value", [{}, {"kind": "Invented", "at": "2026-01-01T00:00:00+00:00"}])
def test_event_raises_when_value_is_none_of_ours(value):
    with pytest.raises(KeyError):
        event_from_json(value)


def test_event_kinds_name_every_event_when_tables_do():
    assert {name for _, name in ATTEMPT_TRANSITIONS} <= EVENT_KINDS.keys()
    assert all(issubclass(kind, Event) for kind in EVENT_KINDS.values())


@pytest.mark.parametrize(
    "last", [DispatchConfirmed, ReplyRunning, ReplyUnknown, ReplyFailed, CancelRequested]
)
def test_deployment_is_the_same_when_read_back(drive, last):
    driver = drive().submit()
    driver.feed(last)
    value = through_json(deployment_to_json(driver.deployment))
    assert deployment_from_json(value) == driver.deployment


def test_deployment_is_the_same_when_read_back_before_submit():
    assert deployment_from_json(deployment_to_json(Deployment(id="x"))) == Deployment(id="x")

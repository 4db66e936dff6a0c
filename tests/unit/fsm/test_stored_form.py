"""Events and snapshots survive the way through JSON."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from reworker.core.codec import decode_event, decode_snapshot, encode_snapshot
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import FORMAT, Attempt, Deployment, Failure, SequenceState, Track
from reworker.fsm.events import (
    EVENT_KINDS,
    CancelRequested,
    Decided,
    Decision,
    DispatchConfirmed,
    Event,
    LocksAwaited,
    LocksGranted,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyUnknown,
    Submitted,
)
from reworker.fsm.plan import Role
from reworker.fsm.states import ATTEMPT_TRANSITIONS, AttemptStatus, Stage
from tests.unit.fsm.rows import event_row

#: what has no usual value, and what is more than a text or a number.
FIELDS = {
    Decided: {"decision": Decision.SKIP},
    LocksGranted: {"fence": 7},
    LocksAwaited: {"lock": "host:web1", "holder": "0123456789ab0123456789ac"},
    Submitted: {"done": ((0, 5), (7, 8)), "left_out": ((9, 10),), "facts": ("0.1", "0.2@3"), "resumes": "x"},
    ReplyCompleted: {"data": {"changed": [True, None, 1.5]}},
}


@pytest.mark.parametrize("kind", [*EVENT_KINDS.values(), ReplyRunning])
def test_event_is_the_same_when_read_back(drive, kind):
    driver = drive().submit()
    driver.feed(kind, **FIELDS.get(kind, {}))
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


def test_deployment_is_the_same_when_read_back_with_everything_in_it():
    attempt = Attempt(
        number=3,
        step_index=4,
        role=Role.APPROVAL,
        status=AttemptStatus.WAITING,
        timers=(TimerKind.APPROVAL,),
        is_unconfirmed=True,
        approved_by=("ann", "bob"),
        reason="ok?",
    )
    deployment = Deployment(
        id="x",
        format=FORMAT,
        stage=Stage.ROLLBACK,
        fence=7,
        timers=(TimerKind.DEPLOYMENT,),
        attempts=(attempt,),
        tracks=(Track(index=4, role=Role.VERIFY, tries=2, failures=1, is_doubtful=True),),
        sequences=(SequenceState(index=1, next_host=3, batch_end=4, is_begun=True, failed_host_count=1),),
        ready=((2, 3),),
        ended=((0, 1),),
        completed=((0, 4), (6, 8)),
        left_out=((4, 5),),
        doubtful=((5, 6),),
        facts=("1.0", "1.0@2"),
        failure=Failure(step_index=4, host="web1", step="a:B", attempt=3, reason="no"),
        created_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    found = decode_snapshot(encode_snapshot(deployment))
    assert found == deployment
    assert repr(found) == repr(deployment)


def test_deployment_is_the_same_when_read_back_before_submit():
    assert decode_snapshot(encode_snapshot(Deployment(id="x"))) == Deployment(id="x")

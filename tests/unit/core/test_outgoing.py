"""What the core puts into the message of a step."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from reworker.bus.contract import Properties
from reworker.core.outgoing import HEARTBEAT_S, Cause, outgoing_of, step_row
from reworker.fsm.commands import DispatchStep
from reworker.fsm.plan import Plan
from reworker.fsm.playbook import Sequence, Step

AT = datetime(2026, 1, 2, tzinfo=UTC)


def row_with(priority: int):
    """Return the row of a step of this priority."""
    step = Step(key="code:x", command="code.1", subcommand="x", priority=priority)
    plan = Plan(group="g", name="n", sequences=(Sequence(hosts=("",), steps=(step,)),))
    command = DispatchStep(step_index=0, attempt=1, tries=1)
    return step_row(Cause("0" * 24, 1, AT), command, plan)


@pytest.mark.parametrize(("priority", "sent"), [(2, 2), (1, 1), (0, None)])
def test_message_is_as_urgent_as_its_step(priority, sent):
    row = row_with(priority)
    assert msgspec.json.decode(row.properties, type=Properties).priority == sent
    assert outgoing_of(row, "re", AT).properties.priority == sent


def test_body_says_where_to_answer():
    body = msgspec.json.decode(row_with(0).body)
    own_id = f"{'0' * 24}.1"
    assert body["attempt"] == {
        "id": own_id,
        "reply_to": "re.replies",
        "idempotent": False,
        "heartbeat_s": HEARTBEAT_S,
    }

"""The message that an attempt was or will be sent as, made again from the plan as the core does. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from reworker.core.domain_keys import has_choice, routed
from reworker.core.outgoing import Cause, outgoing_of, step_row
from reworker.core.tasks.filtering import shown
from reworker.fsm.commands import DispatchStep
from reworker.fsm.plan import Plan, Role
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import AttemptRow
from reworker.topology import names

#: an attempt in one of these was never sent as a message.
_UNSENT = (AttemptStatus.SKIPPED, AttemptStatus.WAITING)


class StepMessage(msgspec.Struct, frozen=True):
    """A message as the broker got it; what is called like a secret has a mask in its place.

    Args:
        attempt: number of the attempt.
        exchange: that it is published to.
        routing_key: of the worker type.
        properties: of AMQP, by their names there.
        body: JSON.
        sent_at: when the broker had it; None is not yet.
    """

    attempt: int
    exchange: str
    routing_key: str
    properties: dict[str, Any]
    body: dict[str, Any]
    sent_at: datetime | None


def step_message(
    plan: Plan, fence: int, row: AttemptRow, exchange: str = names.EXCHANGE
) -> StepMessage | None:
    """Return the message of an attempt; None for one that is no message: an approval, or a step passed over.

    Args:
        plan: of the deployment.
        fence: of its locks; 0 without.
        row: the attempt.
        exchange: that the core publishes steps to.
    """
    role = Role(row.role)
    if role is Role.APPROVAL or row.status in _UNSENT:
        return None
    command = DispatchStep(
        attempt=row.number, step_index=row.step_index, tries=row.tries, role=role, fence=fence
    )
    made = step_row(Cause(row.deployment_id, 0, row.created_at), command, plan)
    if has_choice(made):
        made = routed(made, row.domain)
    message = outgoing_of(made, exchange, row.sent_at or row.created_at)
    properties = msgspec.to_builtins(message.properties)
    return StepMessage(
        attempt=row.number,
        exchange=message.exchange,
        routing_key=message.routing_key,
        properties={name: value for name, value in properties.items() if value is not None},
        body=shown(msgspec.json.decode(message.body)),
        sent_at=row.sent_at,
    )

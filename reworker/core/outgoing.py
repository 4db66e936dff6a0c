"""The messages the core sends, as outbox rows; pure. Ids are derived, so a replay gives the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from reworker import messages
from reworker.bus.contract import Outgoing, Properties
from reworker.core.domain_keys import key_of
from reworker.fsm.attempts import HEARTBEAT_SILENCE_S
from reworker.fsm.commands import DispatchStep, SendControl, SendNotification
from reworker.fsm.plan import Plan, PlannedStep, Role
from reworker.ids import attempt_id
from reworker.storage.contract import OutboxRow
from reworker.topology import names

#: seconds between `running` replies that we ask for: a few may be lost before the silence counts.
HEARTBEAT_S = HEARTBEAT_SILENCE_S / 4
_LONGEST_ID = attempt_id("f" * 24, 999_999_999)
PERSISTENT = 2

_properties = msgspec.json.Decoder(Properties)


class Cause(msgspec.Struct, frozen=True):
    """The event that a message follows from: its deployment, number and time."""

    deployment_id: str
    seq: int
    at: datetime


def outgoing_of(row: OutboxRow, exchange: str, now: datetime) -> Outgoing:
    """Return what the bus publishes for a row at this time.

    Rows name the exchange of steps as the protocol does; who writes one, perhaps in another process, need
    not know that the core has been told to use another, `exchange`.
    """
    return Outgoing(
        exchange=exchange if row.exchange == names.EXCHANGE else row.exchange,
        routing_key=row.routing_key,
        body=row.body,
        properties=_limited(_properties.decode(row.properties), now),
        may_resend=row.is_idempotent,
    )


def _limited(properties: Properties, now: datetime) -> Properties:
    """Tell the worker until when a step may begin.

    Once its queue timeout has passed the step counts as not done: a worker that comes later must leave it.
    The row may have waited for the broker, so the time counts from now on.
    """
    headers = messages.step_headers_of(properties.headers)
    if headers is None or headers.queue_timeout_s is None:
        return properties
    not_after = str(now.timestamp() + headers.queue_timeout_s)
    table = {**(properties.headers or {}), messages.NOT_AFTER_HEADER: not_after}
    return msgspec.structs.replace(properties, headers=table)


def step_body(plan: Plan, step: PlannedStep, own_id: str = _LONGEST_ID) -> bytes:
    """Return the body of a step message.

    Some tools show their worker nothing but the body: it has what they need of the properties in `attempt`.

    Args:
        plan: that the step is of.
        step: to be sent.
        own_id: of the attempt; else one of the largest size, to see whether a step may be sent.

    Raises:
        MessageError: JSON cannot carry it, or it is over the limit.
    """
    parameters = {
        **step.parameters,
        "command": step.command,
        "subcommand": step.subcommand,
        **({"hosts": list(step.hosts)} if step.hosts else {}),
    }
    message = messages.Step(
        group=plan.group,
        parameters=parameters,
        dynamic=dict(plan.dynamic),
        notify=_plain(step.notify),
    )
    address = {
        "id": own_id,
        "reply_to": names.REPLY_QUEUE,
        "idempotent": step.is_idempotent,
        "heartbeat_s": HEARTBEAT_S,
    }
    body = {**msgspec.structs.asdict(message), "attempt": address}
    return messages.encode(body, kind="step", limit_bytes=messages.STEP_LIMIT_BYTES)


#: tells apart what belongs to one step in its idempotency key.
_SUFFIXES = {Role.VERIFY: ":verify", Role.ROLLBACK: ":rollback"}


def step_row(cause: Cause, command: DispatchStep, plan: Plan) -> OutboxRow:
    """Return the row that dispatches a step; its message id and correlation id are the attempt's id."""
    step = plan.step(command.step_index, command.role)
    own_id = attempt_id(cause.deployment_id, command.attempt)
    headers = messages.StepHeaders(
        attempt=command.attempt,
        is_idempotent=step.is_idempotent,
        idempotency_key=f"{cause.deployment_id}:{step.index}{_SUFFIXES.get(step.role, '')}",
        fence=command.fence,
        deadline_s=step.timeout_s,
        heartbeat_s=HEARTBEAT_S,
        queue_timeout_s=step.queue_timeout_s,
    )
    return row_of(
        cause,
        own_id,
        "step",
        Outgoing(
            exchange=names.EXCHANGE,
            routing_key=key_of(step.command, step.domains),
            body=step_body(plan, step, own_id),
            properties=_persistent(
                cause.at,
                own_id,
                correlation_id=own_id,
                reply_to=names.REPLY_QUEUE,
                headers=messages.headers_of_step(headers),
                priority=step.priority or None,
            ),
            may_resend=step.is_idempotent,
        ),
        attempt=command.attempt,
    )


def control_row(cause: Cause, command: SendControl) -> OutboxRow:
    """Return the row that tells workers to cancel an attempt."""
    own_id = attempt_id(cause.deployment_id, command.attempt)
    row_id = f"{own_id}.cancel.{cause.seq}"
    message = Outgoing(
        exchange=names.CONTROL_EXCHANGE,
        routing_key=f"cancel.{command.command}",
        body=messages.encode(messages.Control(attempt=own_id, reason=command.reason), kind="control"),
        properties=_persistent(cause.at, row_id, correlation_id=own_id, reply_to=names.NO_REPLY),
    )
    return row_of(cause, row_id, "control", message)


def notification_row(cause: Cause, command: SendNotification, ordinal: int) -> OutboxRow:
    """Return the row of a notification; `ordinal` tells apart those of one event."""
    row_id = f"{cause.deployment_id}.notify.{cause.seq}.{ordinal}"
    note = messages.Notification(
        slug=command.slug[: messages.SLUG_LIMIT],
        message=command.message,
        phase=command.phase,
        target=list(command.targets),
    )
    message = Outgoing(
        exchange=names.EXCHANGE,
        routing_key=command.topic or names.notify_key(command.transport),
        body=messages.encode(note, kind="notification"),
        properties=_persistent(cause.at, row_id, correlation_id=cause.deployment_id, reply_to=names.NO_REPLY),
    )
    return row_of(cause, row_id, "notify", message)


def answer_row(
    row_id: str, at: datetime, reply_to: str, answer: messages.JobAnswer, correlation_id: str | None = None
) -> OutboxRow:
    """Return the row that answers a job request, by way of the default exchange, with its correlation id."""
    message = Outgoing(
        exchange="",
        routing_key=reply_to,
        body=messages.encode(answer, kind="answer"),
        properties=_persistent(at, row_id, correlation_id=correlation_id),
    )
    return row_of(Cause("", 0, at), row_id, "answer", message)


def row_of(
    cause: Cause, row_id: str, kind: str, message: Outgoing, *, attempt: int | None = None
) -> OutboxRow:
    """Return the row of a message; an empty deployment id in its cause is none."""
    return OutboxRow(
        id=row_id,
        deployment_id=cause.deployment_id or None,
        kind=kind,
        attempt=attempt,
        exchange=message.exchange,
        routing_key=message.routing_key,
        properties=msgspec.json.encode(message.properties),
        body=message.body,
        is_idempotent=message.may_resend,
        claimed_by=None,
        claim_until=None,
        created_at=cause.at,
    )


def _persistent(
    at: datetime,
    message_id: str,
    *,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    headers: Mapping[str, Any] | None = None,
    priority: int | None = None,
) -> Properties:
    return Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=message_id,
        timestamp=int(at.timestamp()),
        correlation_id=correlation_id,
        reply_to=reply_to,
        headers=headers,
        priority=priority,
    )


def _plain(notify: Mapping[str, Mapping[str, tuple[str, ...]]]) -> messages.NotifyTable:
    return {
        phase: {transport: list(targets) for transport, targets in table.items()}
        for phase, table in notify.items()
    }

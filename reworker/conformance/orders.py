"""The steps that are sent to a worker, as a core sends them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.bus.contract import Outgoing, Properties
from reworker.messages import STEP_LIMIT_BYTES, Control, Step, StepHeaders, encode, headers_of_step
from reworker.topology import names

#: parameters of a step that are not its own.
COMMON = frozenset({"command", "subcommand", "hosts"})
#: a subcommand that no worker has.
UNKNOWN_SUBCOMMAND = "NoSuchSubcommand"


class Orders(msgspec.Struct, frozen=True):
    """What a worker is asked to do.

    Args:
        queue: of the worker.
        command: of its steps.
        good: parameters of a step that ends well.
        fail: of one that fails; None is not known.
        bad: parameters that the worker has to refuse; None is not known.
        long: of one that takes about `long_s`; None is not known.
        long_s: seconds.
    """

    queue: str
    command: str
    good: Mapping[str, Any]
    fail: Mapping[str, Any] | None = None
    bad: Mapping[str, Any] | None = None
    long: Mapping[str, Any] | None = None
    long_s: float = 3.0

    @property
    def unknown(self) -> Mapping[str, Any]:
        """Parameters with a subcommand that there is not."""
        return {**self.good, "subcommand": UNKNOWN_SUBCOMMAND}


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """How a step is sent.

    Args:
        own_id: of the attempt; its correlation id.
        reply_to: queue for replies; None is none.
        headers: of level 2; None is level 1.
        at_s: seconds since 1970.
        routing_key: with the exchange `re`.
    """

    own_id: str
    reply_to: str | None
    headers: StepHeaders | None
    at_s: float
    routing_key: str

    def carry(self, body: bytes) -> Outgoing:
        """Return the message with this body."""
        level_2: dict[str, Any] = {}
        if self.headers is not None:
            level_2 = {
                "content_type": "application/json",
                "delivery_mode": 2,
                "message_id": self.own_id,
                "timestamp": int(self.at_s),
                "headers": headers_of_step(self.headers),
            }
        properties = Properties(correlation_id=self.own_id, reply_to=self.reply_to, **level_2)
        return Outgoing(names.EXCHANGE, self.routing_key, body, properties)


def step_body(
    orders: Orders, parameters: Mapping[str, Any], address: Mapping[str, Any], **dynamic: Any
) -> bytes:
    """Return the body of a step; a host is added where none is given.

    Args:
        orders: name the command.
        parameters: of the step.
        address: `attempt` of the body, see docs/messages.md; empty is left out.
        dynamic: its dynamic values.
    """
    whole = {"hosts": ["localhost"], "command": orders.command, **parameters}
    step = Step(group="conformance", parameters=whole, dynamic=dynamic)
    return encode({**msgspec.structs.asdict(step), **({"attempt": address} if address else {})}, kind="step")


def largest_body(orders: Orders, address: Mapping[str, Any]) -> bytes:
    """Return the good step at the limit of the protocol, filled with a dynamic value."""
    room = STEP_LIMIT_BYTES - len(step_body(orders, orders.good, address, filler=""))
    return step_body(orders, orders.good, address, filler="x" * room)


def cancel_message(orders: Orders, own_id: str) -> Outgoing:
    """Return what tells workers to cancel an attempt."""
    body = encode(Control(attempt=own_id, reason="the conformance kit tries whether it can"))
    key = f"cancel.{orders.command}"
    return Outgoing(names.CONTROL_EXCHANGE, key, body, Properties(correlation_id=own_id, delivery_mode=2))

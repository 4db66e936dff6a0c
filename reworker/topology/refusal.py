"""Moving a message to the dead letters with the reason on it: why, from where, by whom and when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

import msgspec

from reworker.bus.contract import Delivery, Outcome, Outgoing, Properties, Published, Verdict
from reworker.clock import iso
from reworker.topology import names

REASON_HEADER = "x-reworker-reason"
QUEUE_HEADER = "x-reworker-queue"
BY_HEADER = "x-reworker-by"
AT_HEADER = "x-reworker-at"
EXCHANGE_HEADER = "x-reworker-exchange"
KEY_HEADER = "x-reworker-key"
REFUSAL_HEADERS = (REASON_HEADER, QUEUE_HEADER, BY_HEADER, AT_HEADER, EXCHANGE_HEADER, KEY_HEADER)
#: header of a copy with the user that sent the message first: the copy itself names its worker's.
SENDER_HEADER = "x-sender"
#: characters of a reason that travel with the message.
REASON_CHARACTERS = 300
#: largest body that is published again with its reason, bytes; a larger one the broker moves by itself.
MOVED_LIMIT_BYTES = 1 << 20
#: beginnings and names of the headers that a broker adds; in a copy they would count for what they are not.
_OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")


class Refusal(msgspec.Struct, frozen=True):
    """Why a message goes to the dead letters: the reason for people, who says so, and when."""

    reason: str
    by: str
    at: datetime


class Publisher(Protocol):
    """What is needed of a bus."""

    def publish(self, message: Outgoing, on_done: Callable[[Published], None] | None = None) -> None:
        """See `bus.contract.Bus.publish`."""
        ...


def refuse(bus: Publisher, delivery: Delivery, refusal: Refusal) -> None:
    """Move a delivery to the dead letters; any thread, returns at once.

    A copy is published with the reason, and the delivery acknowledged when that is confirmed. One that is
    too large, or whose copy the broker does not take, is rejected instead: the broker moves it, as far as
    its queue has a dead-letter exchange, without the reason.
    """

    def on_done(result: Published) -> None:
        is_there = result.outcome is Outcome.CONFIRMED
        delivery.settle(Verdict.ACK if is_there else Verdict.DEAD_LETTER)

    if len(delivery.body) <= MOVED_LIMIT_BYTES:
        for copy_of in (dead_copy, bare_copy):
            try:
                bus.publish(copy_of(delivery, refusal), on_done)
            except (TypeError, ValueError):
                continue  # properties that came, but that AMQP cannot carry once more
            return
    delivery.settle(Verdict.DEAD_LETTER)


def dead_copy(delivery: Delivery, refusal: Refusal) -> Outgoing:
    """Return the message with all of its properties that another can publish, and the reason."""
    properties = {name: getattr(delivery.properties, name, None) for name in Properties.__struct_fields__}
    # A dead letter must not expire, and the broker lets nobody publish in the name of another user.
    properties |= {"expiration": None, "user_id": None, "delivery_mode": 2}
    headers = without_brokers(properties["headers"]) | refusal_headers(delivery, refusal)
    # Our own user stands on the copy: with what a stranger wrote there it would pass for one of a good step.
    properties["headers"] = {name: value for name, value in headers.items() if name != SENDER_HEADER}
    return _dead(delivery, Properties(**properties))


def bare_copy(delivery: Delivery, refusal: Refusal) -> Outgoing:
    """Return the message with the reason, and of its properties only those that say who sent it."""
    old = delivery.properties
    properties = Properties(
        correlation_id=old.correlation_id,
        reply_to=old.reply_to,
        message_id=old.message_id,
        app_id=old.app_id,
        delivery_mode=2,
        headers=refusal_headers(delivery, refusal),
    )
    return _dead(delivery, properties)


def refusal_headers(delivery: Delivery, refusal: Refusal) -> dict[str, Any]:
    """Return the headers of a refused message."""
    return {
        REASON_HEADER: refusal.reason[:REASON_CHARACTERS],
        QUEUE_HEADER: delivery.queue,
        BY_HEADER: refusal.by,
        AT_HEADER: iso(refusal.at),
        EXCHANGE_HEADER: delivery.exchange,
        KEY_HEADER: delivery.routing_key,
    }


def without_brokers(headers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the headers of a message but those that a broker added on its way."""
    return {name: value for name, value in (headers or {}).items() if not name.startswith(_OF_THE_BROKER)}


def _dead(delivery: Delivery, properties: Properties) -> Outgoing:
    return Outgoing(names.DEAD_EXCHANGE, delivery.routing_key, delivery.body, properties)

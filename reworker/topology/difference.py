"""What is different about an exchange or a queue: from a listing, or from the words of a refusal. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.bus.contract import ExchangeSpec, QueueSpec
from reworker.topology.management import FoundExchange, FoundQueue

#: what stands for an argument that is not there.
NONE = "none"
#: AMQP reply codes of refusals.
ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406

#: arguments that RabbitMQ compares when a queue is declared again; of others it says nothing.
#: Source: RabbitMQ 3.10, declare_args of rabbit_amqqueue.
COMPARED = frozenset(
    {
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-delivery-limit",
        "x-expires",
        "x-max-length",
        "x-max-length-bytes",
        "x-max-priority",
        "x-message-ttl",
        "x-overflow",
        "x-queue-type",
        "x-single-active-consumer",
    }
)

_VALUE = r"(?:the value )?'(?P<{0}>.*?)'(?: of type '\w+')?|none"
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*?: "
    rf"received (?:{_VALUE.format('ours')}) but current is (?:{_VALUE.format('theirs')})$",
    re.DOTALL,
)


class Difference(msgspec.Struct, frozen=True):
    """One property, what we expect of it, and what it is; as the broker writes them."""

    name: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, found {self.found}"


def difference_in(text: str) -> Difference | None:
    """Return the difference that a refusal (406) speaks of; None when it is about something else.

    Source: RabbitMQ, the text of PRECONDITION_FAILED, which the embedded broker has too.
    """
    match = _INEQUIVALENT.search(text)
    if match is None:
        return None
    ours, theirs = match["ours"], match["theirs"]
    return Difference(match["name"], NONE if ours is None else ours, NONE if theirs is None else theirs)


def exchange_differences(wanted: ExchangeSpec, found: FoundExchange) -> tuple[Difference, ...]:
    """Return everything in which an exchange is not as wanted."""
    ours: dict[str, Any] = {
        "type": wanted.kind,
        "durable": wanted.durable,
        "auto_delete": False,
        "internal": False,
    }
    theirs = {name: getattr(found, name) for name in ours}
    return _differences(ours, theirs | dict(found.arguments))


def queue_differences(
    wanted: QueueSpec, found: FoundQueue, default_type: str = "classic"
) -> tuple[Difference, ...]:
    """Return everything in which a queue is not as wanted.

    Args:
        wanted: by the file.
        found: on the broker.
        default_type: of queues that are declared without one.
    """
    ours = {name: getattr(wanted, name) for name in ("durable", "auto_delete", "exclusive")}
    theirs = {name: getattr(found, name) for name in ours}
    # What is there without a type, is classic: where the default is another one, the broker notes it.
    typed_ours = {"x-queue-type": default_type} | dict(wanted.arguments)
    typed_theirs = {"x-queue-type": "classic"} | dict(found.arguments)
    return _differences(ours | typed_ours, theirs | typed_theirs)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[Difference, ...]:
    names = sorted(ours.keys() | theirs.keys())
    pairs = [(name, _shown(ours.get(name)), _shown(theirs.get(name))) for name in names]
    return tuple(Difference(name, our, their) for name, our, their in pairs if our != their)


def _shown(value: Any) -> str:
    """Return a value as the broker writes it."""
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)

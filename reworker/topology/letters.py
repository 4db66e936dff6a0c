"""Dead letters read: why each lies there, where it came from, the message that sends it back; pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from reworker.bus.contract import Outgoing, Properties
from reworker.clock import iso
from reworker.topology import refusal

#: headers by which workers count what has happened to a message; one that is sent back begins anew.
COUNTING_HEADERS = ("x-returns", "x-lost", "x-tries", "x-retry-until", "x-retry-at", "x-retry-error")
#: header of a message that was sent back: when.
REDRIVEN_HEADER = "x-reworker-redriven"
#: bytes of a letter's digest: two of 10 million letters have the same id with probability 1 in 6.
ID_BYTES = 6


class Letter(msgspec.Struct, frozen=True):
    """One dead letter, without its body.

    Args:
        id: digest of what it says; the same however often it is looked at.
        reason: why it lies here; the broker's word when nobody else gave one; empty when nobody did.
        queue: it was in when it was refused.
        by: who refused it: a worker or core, or ``broker``.
        at: when; None when nothing says so.
        exchange: it was published to before.
        routing_key: it had there; None when nothing says where it was.
        is_step: a step of a core that has been given an answer, and waits for nothing any more.
    """

    id: str
    reason: str
    queue: str
    by: str
    at: datetime | None
    exchange: str
    routing_key: str | None
    message_id: str | None
    correlation_id: str | None
    size_bytes: int
    is_step: bool


class Filter(msgspec.Struct, frozen=True):
    """Which letters are meant; what is not given holds for all.

    Args:
        queue: they were in.
        reason: text that their reason contains, in any case.
        before: they were refused before; a letter without a time is neither before nor after.
        after: they were refused after.
    """

    queue: str = ""
    reason: str = ""
    before: datetime | None = None
    after: datetime | None = None

    def takes(self, letter: Letter) -> bool:
        """Tell whether a letter is meant."""
        if self.queue not in ("", letter.queue) or self.reason.lower() not in letter.reason.lower():
            return False
        if self.before is None and self.after is None:
            return True
        at = letter.at
        return (
            at is not None and (not self.before or at < self.before) and (not self.after or at > self.after)
        )


def letter_of(properties: Properties, routing_key: str, body: bytes) -> Letter:
    """Return what a message of the dead-letter queue says about itself."""
    headers = properties.headers or {}
    found = _refused(headers) if refusal.REASON_HEADER in headers else _rejected(headers)
    known = (properties.message_id, properties.correlation_id, routing_key, sorted(map(str, found.values())))
    return Letter(
        id=hashlib.blake2b(repr(known).encode(errors="replace") + body, digest_size=ID_BYTES).hexdigest(),
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        size_bytes=len(body),
        is_step=headers.get("x-reworker") == 2 and "x-attempt" in headers,
        **found,
    )


def redriven(
    letter: Letter, properties: Properties, body: bytes, *, at: datetime, queue: str = ""
) -> Outgoing | None:
    """Return the message that goes back to where the letter came from; None when nothing says where.

    Args:
        letter: of `letter_of`.
        properties: as they lie in the dead-letter queue.
        body: the same.
        at: now.
        queue: send it straight there instead.
    """
    if not queue and letter.routing_key is None:
        return None
    dropped = {*refusal.REFUSAL_HEADERS, *COUNTING_HEADERS, refusal.SENDER_HEADER}
    headers = {
        name: value
        for name, value in refusal.without_brokers(properties.headers).items()
        if name not in dropped
    }
    headers[REDRIVEN_HEADER] = iso(at)
    again = msgspec.structs.replace(
        properties, headers=headers, user_id=None, expiration=None, delivery_mode=2
    )
    if queue:
        return Outgoing("", queue, body, again)
    return Outgoing(letter.exchange, letter.routing_key or "", body, again)


def _refused(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a worker or core has written on it."""
    key = headers.get(refusal.KEY_HEADER)
    return {
        "reason": str(headers[refusal.REASON_HEADER]),
        "queue": str(headers.get(refusal.QUEUE_HEADER) or ""),
        "by": str(headers.get(refusal.BY_HEADER) or ""),
        "at": _time_of(headers.get(refusal.AT_HEADER)),
        "exchange": str(headers.get(refusal.EXCHANGE_HEADER) or ""),
        "routing_key": None if key is None else str(key),
    }


def _rejected(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the broker has written on it; the newest of its dead-letterings stands first.

    Source: RabbitMQ, dead letter exchanges, the header ``x-death``.
    """
    deaths = headers.get("x-death")
    first = deaths[0] if isinstance(deaths, list) and deaths else None
    death: Mapping[str, Any] = first if isinstance(first, Mapping) else {}
    keys = death.get("routing-keys")
    return {
        "reason": str(death.get("reason") or ""),
        "queue": str(death.get("queue") or ""),
        "by": "broker" if death else "",
        "at": _time_of(death.get("time")),
        "exchange": str(death.get("exchange") or ""),
        "routing_key": str(keys[0]) if isinstance(keys, list) and keys else None,
    }


def _time_of(value: Any) -> datetime | None:
    """Return a time: text of ours, or the broker's as its client reads it, without a zone and in UTC."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    if not isinstance(at, datetime):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at

"""The messages of one attempt as they were on the bus: properties, headers and body, secrets masked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from reworker.core.event_words import event_words
from reworker.core.service import EventView
from reworker.core.step_messages import step_message
from reworker.core.tasks.filtering import shown
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import AttemptRow

#: characters of a body that a page shows.
BODY_CHARACTERS = 64 << 10


class Sent(msgspec.Struct, frozen=True):
    """A message to a worker.

    Args:
        exchange: where it was published.
        routing_key: with which key.
        properties: (AMQP name, value) of those that are there, without headers.
        headers: (name, value), in order.
        body: JSON, indented.
    """

    exchange: str
    routing_key: str
    properties: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    body: str


class Received(msgspec.Struct, frozen=True):
    """An answer of a worker, or another event about the attempt: in words, and as it was taken in."""

    event: EventView
    words: str
    message_id: str
    body: str

    @property
    def is_reply(self) -> bool:
        """Tell whether a worker has said it."""
        return self.event.kind.startswith("Reply")


def sent_message(
    plan: Plan, attempt: AttemptRow, fence: int, events: Sequence[EventView] = ()
) -> Sent | None:
    """Return the message that an attempt was dispatched with; None when there is none.

    Args:
        plan: of the deployment.
        attempt: its row.
        fence: of the deployment's locks.
        events: about the attempt: one that had to wait was dispatched when its delay was over.
    """
    delayed = [one.at for one in events if one.kind == "DelayEnded" and one.ignored is None]
    if not delayed and _is_dropped(attempt):
        return None
    row = msgspec.structs.replace(attempt, created_at=delayed[-1]) if delayed else attempt
    message = step_message(plan, fence, row)
    if message is None:
        return None
    properties = dict(message.properties)
    headers = properties.pop("headers", {})
    return Sent(
        exchange=message.exchange,
        routing_key=message.routing_key,
        properties=tuple((name, _text(value)) for name, value in properties.items()),
        headers=tuple((name, _text(value)) for name, value in headers.items()),
        body=pretty(message.body),
    )


def _text(value: Any) -> str:
    """Return a value as it is written on the wire: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8")


def _is_dropped(attempt: AttemptRow) -> bool:
    """Tell whether an attempt was given up before it was sent."""
    is_unsent = attempt.sent_at is None and attempt.started_at is None
    return is_unsent and attempt.status == AttemptStatus.CANCELLED


def received(events: Iterable[EventView], message_ids: dict[int, str]) -> list[Received]:
    """Return what happened to an attempt; `message_ids` are those of replies, by the event's number."""
    return [
        Received(
            event=one,
            words=event_words(one, is_step=True),
            message_id=message_ids.get(one.seq, ""),
            body=pretty({name: value for name, value in one.data.items() if name != "attempt"}),
        )
        for one in events
    ]


def pretty(value: Any) -> str:
    """Return a plain value as JSON for people, secrets masked and cut if it is very long."""
    text = msgspec.json.format(msgspec.json.encode(shown(value)), indent=2).decode("utf-8")
    if len(text) <= BODY_CHARACTERS:
        return text
    return f"{text[:BODY_CHARACTERS]}\n… {len(text) - BODY_CHARACTERS:,} more characters"


def worked_s(attempt: AttemptRow, now: datetime) -> float | None:
    """Return for how many seconds an attempt was, or is, at work."""
    if attempt.started_at is None:
        return None
    return max((attempt.ended_at or now) - attempt.started_at, timedelta()).total_seconds()

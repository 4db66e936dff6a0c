"""What is around the messages of a job: their properties, ids and headers."""

from __future__ import annotations

import functools
from typing import Any

from msgspec.structs import replace

from reworker.bus.contract import Envelope, FixedHeaders, Properties
from reworker.ids import MESSAGE_ID_CHARACTERS, bounded_id
from reworker.jobs.station import Station
from reworker.messages import FINAL_STATUSES, Reply, ReplyHeaders, encode, headers_of_reply
from reworker.topology.names import NO_REPLY

#: envelopes of replies that are kept: most attempts have the same few, until each has a trace of its own.
CACHED_ENVELOPES_COUNT = 256
#: the first reply of every step, and its body: encoded once.
STARTED = Reply("started")
STARTED_BODY = encode(STARTED, kind="reply")
_JSON = "application/json"
_PERSISTENT = 2


def plain_properties(app_id: str, correlation_id: str | None, reply_to: str | None) -> Properties:
    """Return what surrounds a message that plugins of 2014 would send."""
    return Properties(
        app_id=app_id,
        correlation_id=correlation_id,
        reply_to=reply_to,
        content_type=_JSON,
        delivery_mode=_PERSISTENT,
    )


def reply_around(
    station: Station,
    correlation_id: str | None,
    status: str,
    seq: int,
    *,
    traceparent: str,
    is_again: bool,
) -> tuple[Properties, Envelope]:
    """Return what surrounds a level 2 reply, and the envelope that this was made with.

    Args:
        station: where it is sent.
        correlation_id: of the attempt.
        status: of the reply.
        seq: its number within the attempt, from 1.
        traceparent: its trace; empty is none.
        is_again: another worker may have begun this attempt before: a second start is no copy of the first,
            and the history shows both.
    """
    is_named = status in FINAL_STATUSES or (status == "started" and not is_again)
    suffix = status if is_named else f"{status}:{station.nonce}:{next(station.numbers)}"
    own_id = f"{correlation_id}:{suffix}"
    if len(own_id) > MESSAGE_ID_CHARACTERS:
        own_id = bounded_id(own_id)
    envelope = _envelope(station.app_id, station.worker_id, seq, traceparent)
    return replace(envelope.common, correlation_id=correlation_id, message_id=own_id), envelope


@functools.lru_cache(CACHED_ENVELOPES_COUNT)
def _envelope(app_id: str, worker_id: str, seq: int, traceparent: str) -> Envelope:
    headers = FixedHeaders(headers_of_reply(ReplyHeaders(worker_id, seq, traceparent)))
    return Envelope(replace(plain_properties(app_id, None, NO_REPLY), headers=headers))


def meant_id(correlation_id: Any, own: str | None) -> str | None:
    """Return the correlation id that a plugin means: it may have made a text of one that is not there."""
    is_absent = correlation_id is None or (correlation_id == "None" and own is None)
    return None if is_absent else str(correlation_id)

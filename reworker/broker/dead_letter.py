"""What a dead-lettered message looks like, and which queues would only send it in a circle. Pure."""

from __future__ import annotations

from reworker.broker import properties
from reworker.broker.arguments import QueueOptions
from reworker.broker.codec import raw_text
from reworker.broker.model import Message
from reworker.broker.properties import array_items, array_value, int_value, text_value


def dead_lettered(
    message: Message, queue_name: str, options: QueueOptions, reason: str, unix_s: int
) -> Message:
    """Return the message as it goes to the dead-letter exchange, its history in `x-death`.

    Args:
        message: as it was in the queue.
        queue_name: the queue it dies in.
        options: of that queue; `dead_letter_exchange` is set.
        reason: rejected, expired, maxlen or delivery_limit.
        unix_s: now.

    Source: RabbitMQ 3.10, dead lettering; counts are 64-bit.
    """
    key = message.routing_key if options.dead_letter_key is None else options.dead_letter_key
    headers = properties.headers_of(message.props)
    keys = [text_value(raw_text(message.routing_key)), *(array_items(headers.get(b"CC", b"")) or [])]
    if options.dead_letter_key is not None:
        headers.pop(b"CC", None)
    place, why = text_value(raw_text(queue_name)), text_value(reason.encode())
    deaths = _deaths(headers)
    old = next(
        (death for death in deaths if death.get(b"queue") == place and death.get(b"reason") == why), None
    )
    if old is not None:
        deaths.remove(old)
        old[b"count"] = int_value(_count(old) + 1)
        first = old
    else:
        first = {
            b"count": int_value(1),
            b"reason": why,
            b"queue": place,
            b"time": properties.time_value(unix_s),
            b"exchange": text_value(raw_text(message.exchange)),
            b"routing-keys": array_value(keys),
        }
        if message.expiration_s is not None:
            first[b"original-expiration"] = text_value(str(round(message.expiration_s * 1000)).encode())
    headers[b"x-death"] = array_value([b"F" + properties.table(death) for death in [first, *deaths]])
    headers.setdefault(b"x-first-death-exchange", text_value(raw_text(message.exchange)))
    headers.setdefault(b"x-first-death-queue", place)
    headers.setdefault(b"x-first-death-reason", why)
    props = properties.with_property(properties.with_headers(message.props, headers), "expiration", None)
    return Message(options.dead_letter_exchange or "", key, props, message.body)


def _deaths(headers: dict[bytes, bytes]) -> list[dict[bytes, bytes]]:
    items = array_items(headers.get(b"x-death", b"")) or []
    return [properties.fields(item[1:]) for item in items if item[:1] == b"F"]


def _count(death: dict[bytes, bytes]) -> int:
    # a client may send any x-death; what is no 64-bit integer counts as nothing
    raw = death.get(b"count", b"")
    return int.from_bytes(raw[1:], "big", signed=True) if raw[:1] in (b"l", b"L") else 0


def is_cycle(message: Message, queue_name: str) -> bool:
    """Tell whether `message` died in this queue before and nobody rejected it since.

    Such a target is left out, so that expiry or overflow alone cannot move a message for ever.
    """
    place = text_value(raw_text(queue_name))
    for death in _deaths(properties.headers_of(message.props)):
        if death.get(b"reason") == text_value(b"rejected"):
            return False
        if death.get(b"queue") == place:
            return True
    return False

"""AMQP frames of the hot paths, unpacked by hand: what is delivered, and confirms. Pure.

Everything else goes through pika's own codec, see `frames`.
"""

from __future__ import annotations

import functools
import logging
import struct
from collections.abc import Callable
from typing import Any

import pika.data
import pika.spec
from pika.exceptions import AMQPError

from reworker.bus import frames

logger = logging.getLogger(__name__)

#: how pika fails on values that a broker lets pass: times after the year 9999, NaN, deep nesting, new types.
_UNREADABLE = (AMQPError, ArithmeticError, OSError, RecursionError, ValueError, struct.error)

unpack_frame_head = struct.Struct(">BHL").unpack_from
unpack_method_id = struct.Struct(">L").unpack_from
#: delivery tag and bits of basic.ack and basic.nack.
unpack_confirm = struct.Struct(">QB").unpack_from
#: the head of a content header frame: type, channel, size, class and weight, bytes of the body.
unpack_header_head = struct.Struct(">BHLLQ").unpack_from
unpack_body_size = struct.Struct(">Q").unpack_from
_unpack_length = struct.Struct(">L").unpack_from
_unpack_tag = struct.Struct(">QB").unpack_from
_unpack_flags = struct.Struct(">H").unpack_from
_unpack_timestamp = struct.Struct(">Q").unpack_from


class ReceivedProperties(pika.spec.BasicProperties):  # type: ignore[misc]  # pika is untyped
    """pika's properties, set only where the message has them; the rest is None by the class."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: dict[str, Any] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None

    def __init__(self) -> None:
        """Leave every property to the class; the parent would set fourteen attributes."""


#: makes one without a call of its `__init__`.
_new_properties = ReceivedProperties.__new__


def _text(data: bytes) -> str:
    """Return a text, also what is no UTF-8: a sender's ids must return to it unchanged."""
    try:
        return data.decode()  # nearly all; to name an error handler takes twice the time
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _read_short(data: bytes, place: int) -> tuple[str, int]:
    start = place + 1
    stop = start + data[place]
    return _text(data[start:stop]), stop


#: values in tables that always take the same bytes: how to read one, and how many.
_FIXED: dict[int, tuple[Callable[[bytes, int], tuple[Any, ...]], int]] = {
    frames.INT32: (struct.Struct(">l").unpack_from, 4),
    frames.BOOL: (struct.Struct(">?").unpack_from, 1),
    frames.DOUBLE: (struct.Struct(">d").unpack_from, 8),
    frames.INT64: (struct.Struct(">q").unpack_from, 8),
}


@functools.lru_cache(frames.CACHED_TEXT_COUNT)
def _entry_of(head: bytes) -> tuple[str, int, Callable[[bytes, int], tuple[Any, ...]] | None, int]:
    """Return (name, type, how to read a value of this type, its bytes) of an entry of a table.

    Args:
        head: length, name and type. There are few, and each comes again and again.
    """
    kind = head[-1]
    return _text(head[1:-1]), kind, *_FIXED.get(kind, (None, 0))


def _read_octet(data: bytes, place: int) -> tuple[int, int]:
    return data[place], place + 1


def _read_timestamp(data: bytes, place: int) -> tuple[int, int]:
    number: int = _unpack_timestamp(data, place)[0]
    return number, place + 8


def _read_table(data: bytes, place: int) -> tuple[dict[str, Any], int]:
    """Return a table; values that are rarer than those here are left to pika."""
    stop = place + 4 + _unpack_length(data, place)[0]
    place += 4
    values: dict[str, Any] = {}
    while place < stop:
        start = place + 2 + data[place]
        name, kind, read, size = _entry_of(data[place:start])
        if read is not None:
            (values[name],) = read(data, start)
            place = start + size
        elif kind == frames.LONG_STRING:
            place = start + 4 + _unpack_length(data, start)[0]
            raw = data[start + 4 : place]
            try:
                values[name] = raw.decode()
            except UnicodeDecodeError:
                values[name] = _text(raw)
        else:
            try:
                values[name], place = pika.data.decode_value(data, start - 1)
            except _UNREADABLE as error:
                # The message would come again on the next connection, and end that one too.
                logger.warning("header %.60r and those after it cannot be read: %r", name, error)
                break
    return values, stop


#: flags of what comes after the message id, and where the others begin.
_LATER_FLAGS, _LATER_BITS = 0x7F, 7
#: of content type, headers, mode and the ids of steps and replies, that often with more behind them.
_STEP_FLAGS = sum(frames.ENCODERS[place][1] for place in (0, 2, 3, 5, 6, 8)) >> _LATER_BITS

_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "headers": _read_table,
    "delivery_mode": _read_octet,
    "priority": _read_octet,
    "timestamp": _read_timestamp,
}


@functools.lru_cache(frames.CACHED_TEXT_COUNT)
def _readers_of(flags: int) -> tuple[tuple[str, Callable[[bytes, int], tuple[Any, int]]], ...]:
    """Return how to read the properties that these flags say are there."""
    return tuple((name, _READERS.get(name, _read_short)) for name, flag, _ in frames.ENCODERS if flags & flag)


def read_properties(data: bytes, place: int) -> ReceivedProperties:
    """Return the properties of a content header frame; `place` is that of the property flags."""
    flags = _unpack_flags(data, place)[0]
    properties: ReceivedProperties = _new_properties(ReceivedProperties)
    if flags >> _LATER_BITS == _STEP_FLAGS:
        try:
            place = _read_first(properties, data, place + 2)
        except UnicodeDecodeError:
            return _read_any(properties, data, place + 2, flags)
        flags &= _LATER_FLAGS
        return _read_any(properties, data, place, flags) if flags else properties
    return _read_any(properties, data, place + 2, flags)


def _read_first(properties: ReceivedProperties, data: bytes, place: int) -> int:
    """Set what steps and replies all have, one after the other: in half the time of a look at each flag.

    Returns:
        the place of the properties behind the message id.

    Raises:
        UnicodeDecodeError: one is no UTF-8, which is read in the general way.
    """
    start = place + 1
    place = start + data[place]
    properties.content_type = data[start:place].decode()
    properties.headers, place = _read_table(data, place)
    properties.delivery_mode = data[place]
    start = place + 2
    place = start + data[place + 1]
    properties.correlation_id = data[start:place].decode()
    start = place + 1
    place = start + data[place]
    properties.reply_to = data[start:place].decode()
    start = place + 1
    place = start + data[place]
    properties.message_id = data[start:place].decode()
    return place


def _read_any(properties: ReceivedProperties, data: bytes, place: int, flags: int) -> ReceivedProperties:
    """Set the properties that these flags name, from this place on."""
    for name, read in _readers_of(flags):
        if read is _read_short:  # most are
            start = place + 1
            place = start + data[place]
            raw = data[start:place]
            try:
                value: Any = raw.decode()
            except UnicodeDecodeError:
                value = _text(raw)
        else:
            value, place = read(data, place)
        setattr(properties, name, value)
    return properties


def read_deliver(data: bytes, place: int, stop: int) -> tuple[int, bool, str, str]:
    """Return (delivery tag, redelivered, exchange, routing key).

    Args:
        data: what has come.
        place: that of the consumer tag.
        stop: where the frame's payload ends.
    """
    place += 1 + data[place]
    tag, bits = _unpack_tag(data, place)
    exchange, routing_key = _names_in(data[place + 9 : stop])
    return tag, bits & 1 != 0, exchange, routing_key


def read_get_ok(data: bytes, place: int) -> tuple[int, bool, str, str]:
    """Return the same of an answer to a pull; `place` is that of the delivery tag."""
    tag, bits = _unpack_tag(data, place)
    key = place + 10 + data[place + 9]
    exchange, routing_key = _names_in(data[place + 9 : key + 1 + data[key]])
    return tag, bool(bits & 1), exchange, routing_key


@functools.lru_cache(frames.CACHED_TEXT_COUNT)
def _names_in(data: bytes) -> tuple[str, str]:
    """Return the two short strings that follow each other: an exchange and a routing key."""
    first, place = _read_short(data, 0)
    return first, _read_short(data, place)[0]

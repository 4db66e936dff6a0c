"""AMQP frames of the hot paths, packed and unpacked by hand: publish, deliver, ack. Pure.

Everything else goes through pika's own codec, which is general and several times slower.
Source: AMQP 0-9-1 specification, sections 2.3.5 and 4.2.
"""

from __future__ import annotations

import functools
import logging
import struct
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

import msgspec
import pika.data
import pika.spec
from pika.exceptions import AMQPError, UnsupportedAMQPFieldException

from reworker.bus.contract import FixedHeaders, Properties

logger = logging.getLogger(__name__)

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = b"\xce"
FRAME_END_BYTE = 0xCE
#: bytes around a frame's payload.
FRAME_OVERHEAD_BYTES = 8
#: method ids: class in the upper, method in the lower half.
BASIC_ACK, BASIC_NACK, BASIC_DELIVER, BASIC_GET_OK = 0x003C0050, 0x003C0078, 0x003C003C, 0x003C0047
#: the one of a delivery as it stands in its frame.
DELIVER_BYTES = struct.pack(">L", BASIC_DELIVER)
_BASIC_PUBLISH, _BASIC_GET = 0x003C0028, 0x003C0046
_BASIC_CLASS = 60
_MANDATORY = 1
_MULTIPLE, _REQUEUE = 1, 2
#: bytes of a content header before its properties: class, weight, size of the body, flags.
_HEADER_FIXED_BYTES = 14
#: bytes of a body that one frame holds, whatever size was negotiated. Source: AMQP 0-9-1, frame-min-size.
SURE_BODY_BYTES = 4096 - FRAME_OVERHEAD_BYTES

#: encoded names kept, so that each is encoded once.
CACHED_TEXT_COUNT = 1024
_OCTETS = tuple(bytes((number,)) for number in range(256))
#: types of values in tables. Source: AMQP 0-9-1 errata, RabbitMQ's field types.
_LONG_STRING, _INT32, _INT64, _BOOL, _DOUBLE = b"SIltd"
_TRUE, _FALSE = b"t\x01", b"t\x00"
_INT32_LIMIT = 1 << 31
#: how pika fails on values that a broker lets pass: times after the year 9999, NaN, deep nesting, new types.
_UNREADABLE = (AMQPError, ArithmeticError, OSError, RecursionError, ValueError, struct.error)

unpack_frame_head = struct.Struct(">BHL").unpack_from
unpack_method_id = struct.Struct(">L").unpack_from
#: delivery tag and bits of basic.ack and basic.nack.
unpack_confirm = struct.Struct(">QB").unpack_from
#: the head of a content header frame: type, channel, size, class and weight, bytes of the body.
unpack_header_head = struct.Struct(">BHLLQ").unpack_from
unpack_body_size = struct.Struct(">Q").unpack_from
pack_frame_head = struct.Struct(">BHL").pack
_pack_header_head = struct.Struct(">BHLHHQH").pack
_pack_settle = struct.Struct(">BHLLQBB").pack
_pack_length = struct.Struct(">L").pack
_pack_text_head = struct.Struct(">BL").pack
_pack_double = struct.Struct(">Bd").pack
_pack_int32 = struct.Struct(">Bl").pack
_unpack_length = struct.Struct(">L").unpack_from
_unpack_tag = struct.Struct(">QB").unpack_from
_unpack_flags = struct.Struct(">H").unpack_from
_unpack_timestamp = struct.Struct(">Q").unpack_from
_pack_timestamp = struct.Struct(">Q").pack


def _bytes(text: str) -> bytes:
    """Give back as it came what was no UTF-8 when it was read: a sender's ids must return to it unchanged."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogateescape")


def _short(text: str) -> bytes:
    raw = _bytes(text)
    if len(raw) > 255:
        raise ValueError(f"AMQP short strings hold 255 bytes, this one has {len(raw)}: {text[:60]!r}...")
    return _OCTETS[len(raw)] + raw


#: for texts that come again and again: names, types, addresses.
_cached_short = functools.lru_cache(CACHED_TEXT_COUNT)(_short)


def _octet(number: int) -> bytes:
    return _OCTETS[number]


def _table(values: Mapping[str, Any]) -> bytes:
    pieces: list[bytes] = []
    for name, value in values.items():
        pieces.append(_cached_short(name))
        kind = type(value)
        if kind is str:
            raw = _bytes(value)
            pieces.append(_pack_text_head(_LONG_STRING, len(raw)))
            pieces.append(raw)
        elif kind is bool:
            pieces.append(_TRUE if value else _FALSE)
        elif kind is int and -_INT32_LIMIT <= value < _INT32_LIMIT:
            pieces.append(_pack_int32(_INT32, value))
        elif kind is float:  # pika has no code for these
            pieces.append(_pack_double(_DOUBLE, value))
        else:
            pika.data.encode_value(pieces, value)
    payload = b"".join(pieces)
    return _pack_length(len(payload)) + payload


def _headers(values: Mapping[str, Any]) -> bytes:
    if type(values) is not FixedHeaders:
        return _table(values)
    encoded = values.encoded
    if not encoded:
        encoded = values.encoded = _table(values)
    return encoded


#: by property, in the order of `Properties` and of the wire.
_ENCODERS: tuple[tuple[str, int, Callable[[Any], bytes]], ...] = (
    ("content_type", 1 << 15, _cached_short),
    ("content_encoding", 1 << 14, _cached_short),
    ("headers", 1 << 13, _headers),
    ("delivery_mode", 1 << 12, _octet),
    ("priority", 1 << 11, _octet),
    ("correlation_id", 1 << 10, _short),
    ("reply_to", 1 << 9, _cached_short),
    ("expiration", 1 << 8, _short),
    ("message_id", 1 << 7, _short),
    ("timestamp", 1 << 6, _pack_timestamp),
    ("type", 1 << 5, _cached_short),
    ("user_id", 1 << 4, _cached_short),
    ("app_id", 1 << 3, _cached_short),
    ("cluster_id", 1 << 2, _cached_short),
)


_values_of = msgspec.structs.astuple
#: places of the properties that replies, output and most other messages have, all of them and no others.
_USUAL = (0, 2, 3, 5, 6, 8, 12)
_usual = itemgetter(*_USUAL)
_unusual = itemgetter(*(place for place in range(len(_ENCODERS)) if place not in _USUAL))
_NOTHING_UNUSUAL = (None,) * (len(_ENCODERS) - len(_USUAL))
_USUAL_FLAGS = sum(_ENCODERS[place][1] for place in _USUAL)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return one frame."""
    return pack_frame_head(kind, channel, len(payload)) + payload + FRAME_END


def publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    """Return the method frame of a mandatory basic.publish.

    Raises:
        ValueError: a name is over 255 bytes.
    """
    method = struct.pack(">LH", _BASIC_PUBLISH, 0)
    return frame(METHOD, channel, method + _short(exchange) + _short(routing_key) + _octet(_MANDATORY))


def get_frame(channel: int, queue: str) -> bytes:
    """Return a basic.get of one message that has to be acknowledged.

    Raises:
        ValueError: the name is over 255 bytes.
    """
    return frame(METHOD, channel, struct.pack(">LH", _BASIC_GET, 0) + _short(queue) + _octet(0))


def header_frame(channel: int, body_size_bytes: int, properties: Properties) -> bytes:
    """Return the content header frame of a message.

    Raises:
        ValueError: a property is too long or out of range.
        TypeError: a property has a type that AMQP cannot carry.
    """
    try:
        flags, content = _content(_values_of(properties))
    except (AttributeError, IndexError, struct.error, UnsupportedAMQPFieldException) as error:
        raise TypeError(f"AMQP cannot carry these properties: {error}: {properties}") from error
    size = _HEADER_FIXED_BYTES + len(content) - len(FRAME_END)
    return _pack_header_head(HEADER, channel, size, _BASIC_CLASS, 0, body_size_bytes, flags) + content


def _content(values: tuple[Any, ...]) -> tuple[int, bytes]:
    """Return the flags of the properties that are there, and these encoded, with the end of the frame."""
    kind, headers, mode, correlation_id, reply_to, message_id, sender = _usual(values)
    if headers is None or message_id is None or _unusual(values) != _NOTHING_UNUSUAL:
        return _any_content(values)
    try:
        of_attempt, own = correlation_id.encode(), message_id.encode()
        pieces = (
            _cached_short(kind),
            _headers(headers),
            _OCTETS[mode],
            _OCTETS[len(of_attempt)],
            of_attempt,
            _cached_short(reply_to),
            _OCTETS[len(own)],
            own,
            _cached_short(sender),
            FRAME_END,
        )
    except (AttributeError, TypeError, UnicodeEncodeError, IndexError):
        return _any_content(values)  # it has one less, or one of them is wrong: that is said there
    return _USUAL_FLAGS, b"".join(pieces)


def _any_content(values: tuple[Any, ...]) -> tuple[int, bytes]:
    """Return the same of any properties; it takes twice the time."""
    flags, pieces = 0, []
    for value, (_, flag, encode) in zip(values, _ENCODERS, strict=True):
        if value is not None:
            flags |= flag
            pieces.append(encode(value))
    pieces.append(FRAME_END)
    return flags, b"".join(pieces)


def body_frames(channel: int, body: bytes, frame_max_bytes: int) -> bytes:
    """Return a body as frames of at most the negotiated size; empty for an empty body."""
    limit = frame_max_bytes - FRAME_OVERHEAD_BYTES
    starts = range(0, len(body), limit)
    return b"".join(frame(BODY, channel, body[start : start + limit]) for start in starts)


def with_body(channel: int, head: bytes, body: bytes) -> bytes:
    """Return a content of which `head` is all but its body, of at most `SURE_BODY_BYTES`."""
    if not body:
        return head
    return b"".join((head, pack_frame_head(BODY, channel, len(body)), body, FRAME_END))


def ack_frame(channel: int, delivery_tag: int, *, is_multiple: bool) -> bytes:
    """Return a basic.ack."""
    return _pack_settle(METHOD, channel, 13, BASIC_ACK, delivery_tag, int(is_multiple), FRAME_END_BYTE)


def nack_frame(channel: int, delivery_tag: int, *, is_requeued: bool) -> bytes:
    """Return a basic.nack of one delivery."""
    bits = _REQUEUE if is_requeued else 0
    return _pack_settle(METHOD, channel, 13, BASIC_NACK, delivery_tag, bits, FRAME_END_BYTE)


class ReceivedProperties(pika.spec.BasicProperties):  # type: ignore[misc]  # pika is untyped
    """pika's properties, set only where the message has them; the rest is None by the class."""

    content_type = content_encoding = headers = delivery_mode = priority = None
    correlation_id = reply_to = expiration = message_id = timestamp = None
    type = user_id = app_id = cluster_id = None

    def __init__(self) -> None:
        """Leave every property to the class; the parent would set fourteen attributes."""


def _text(data: bytes) -> str:
    """Return a text, also what is no UTF-8; see `_bytes`."""
    return data.decode("utf-8", "surrogateescape")


def _read_short(data: bytes, place: int) -> tuple[str, int]:
    start = place + 1
    stop = start + data[place]
    return _text(data[start:stop]), stop


#: values in tables that always take the same bytes: how to read one, and how many.
_FIXED: dict[int, tuple[Callable[[bytes, int], tuple[Any, ...]], int]] = {
    _INT32: (struct.Struct(">l").unpack_from, 4),
    _BOOL: (struct.Struct(">?").unpack_from, 1),
    _DOUBLE: (struct.Struct(">d").unpack_from, 8),
    _INT64: (struct.Struct(">q").unpack_from, 8),
}


@functools.lru_cache(CACHED_TEXT_COUNT)
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
        elif kind == _LONG_STRING:
            place = start + 4 + _unpack_length(data, start)[0]
            values[name] = _text(data[start + 4 : place])
        else:
            try:
                values[name], place = pika.data.decode_value(data, start - 1)
            except _UNREADABLE as error:
                # The message would come again on the next connection, and end that one too.
                logger.warning("header %.60r and those after it cannot be read: %r", name, error)
                break
    return values, stop


_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "headers": _read_table,
    "delivery_mode": _read_octet,
    "priority": _read_octet,
    "timestamp": _read_timestamp,
}


@functools.lru_cache(CACHED_TEXT_COUNT)
def _readers_of(flags: int) -> tuple[tuple[str, Callable[[bytes, int], tuple[Any, int]]], ...]:
    """Return how to read the properties that these flags say are there."""
    return tuple((name, _READERS.get(name, _read_short)) for name, flag, _ in _ENCODERS if flags & flag)


def read_properties(data: bytes, place: int) -> ReceivedProperties:
    """Return the properties of a content header frame; `place` is that of the property flags."""
    readers = _readers_of(_unpack_flags(data, place)[0])
    place += 2
    properties = ReceivedProperties()
    for name, read in readers:
        if read is _read_short:  # most are
            start = place + 1
            place = start + data[place]
            value: Any = data[start:place].decode("utf-8", "surrogateescape")
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


@functools.lru_cache(CACHED_TEXT_COUNT)
def _names_in(data: bytes) -> tuple[str, str]:
    """Return the two short strings that follow each other: an exchange and a routing key."""
    first, place = _read_short(data, 0)
    return first, _read_short(data, place)[0]

"""AMQP frames of the hot paths, packed by hand: publish, ack; `reading` unpacks. Pure.

Everything else goes through pika's own codec, which is general and several times slower.
Source: AMQP 0-9-1 specification, sections 2.3.5 and 4.2.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import msgspec
import pika.data
from pika.exceptions import UnsupportedAMQPFieldException

from reworker.bus.contract import Outgoing, Properties

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
_CLASS_AND_WEIGHT = _BASIC_CLASS << 16
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
LONG_STRING, INT32, INT64, BOOL, DOUBLE = b"SIltd"
_TRUE, _FALSE = b"t\x01", b"t\x00"
_INT32_LIMIT = 1 << 31

pack_frame_head = struct.Struct(">BHL").pack
_pack_header_head = struct.Struct(">BHLHHQH").pack
_pack_sizes = struct.Struct(">BHLLQ").pack
_pack_flags = struct.Struct(">H").pack
_pack_settle = struct.Struct(">BHLLQBB").pack
_pack_length = struct.Struct(">L").pack
_pack_text_head = struct.Struct(">BL").pack
_pack_double = struct.Struct(">Bd").pack
_pack_int32 = struct.Struct(">Bl").pack
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
            pieces.append(_pack_text_head(LONG_STRING, len(raw)))
            pieces.append(raw)
        elif kind is bool:
            pieces.append(_TRUE if value else _FALSE)
        elif kind is int and -_INT32_LIMIT <= value < _INT32_LIMIT:
            pieces.append(_pack_int32(INT32, value))
        elif kind is float:  # pika has no code for these
            pieces.append(_pack_double(DOUBLE, value))
        else:
            pika.data.encode_value(pieces, value)
    payload = b"".join(pieces)
    return _pack_length(len(payload)) + payload


Encoder = tuple[str, int, Callable[[Any], bytes]]
#: by property, in the order of `Properties` and of the wire.
ENCODERS: tuple[Encoder, ...] = (
    ("content_type", 1 << 15, _cached_short),
    ("content_encoding", 1 << 14, _cached_short),
    ("headers", 1 << 13, _table),
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
_unusual = itemgetter(*(place for place in range(len(ENCODERS)) if place not in _USUAL))
_NOTHING_UNUSUAL = (None,) * (len(ENCODERS) - len(_USUAL))
_USUAL_FLAGS = sum(ENCODERS[place][1] for place in _USUAL)
#: properties before, between and after the two ids.
_AROUND_IDS = slice(5), slice(6, 8), slice(9, None)
_ID_FLAGS = ENCODERS[5][1] | ENCODERS[8][1]


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
            _table(headers),
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
    flags, content = _encoded(values, ENCODERS)
    return flags, content + FRAME_END


def _encoded(values: Sequence[Any], encoders: Sequence[Encoder]) -> tuple[int, bytes]:
    """Return the flags of the properties that are there, and these encoded."""
    flags, pieces = 0, []
    for value, (_, flag, encode) in zip(values, encoders, strict=True):
        if value is not None:
            flags |= flag
            pieces.append(encode(value))
    return flags, b"".join(pieces)


def enveloped(channel: int, method: bytes, message: Outgoing, user_id: str) -> bytes:
    """Return all frames of a message whose properties were made with an envelope.

    Args:
        channel: to publish on.
        method: frame of the publish.
        message: with an envelope.
        user_id: sender that every message is to name; empty is none.

    Returns:
        Nothing for a message that has to take the general way: it is large or empty, or has odd ids.
    """
    envelope, body, properties = message.envelope, message.body, message.properties
    correlation_id, message_id, body_size = properties.correlation_id, properties.message_id, len(body)
    if (
        envelope is None
        or correlation_id is None
        or message_id is None
        or not 0 < body_size <= SURE_BODY_BYTES
    ):
        return b""
    fixed = envelope.encoded.get(user_id)
    if fixed is None:
        fixed = envelope.encoded[user_id] = _fixed_parts(envelope.common, user_id)
    fixed_size, before, between, after = fixed
    try:
        of_attempt, own = correlation_id.encode(), message_id.encode()
        size = fixed_size + len(of_attempt) + len(own)
        return b"".join(
            (
                method,
                _pack_sizes(HEADER, channel, size, _CLASS_AND_WEIGHT, body_size),
                before,
                _OCTETS[len(of_attempt)],
                of_attempt,
                between,
                _OCTETS[len(own)],
                own,
                after,
                pack_frame_head(BODY, channel, body_size),
                body,
                FRAME_END,
            )
        )
    except (IndexError, UnicodeEncodeError):
        return b""


def _fixed_parts(common: Properties, user_id: str) -> tuple[int, bytes, bytes, bytes]:
    """Return the size and three parts, encoded, of properties that lack their two ids."""
    if user_id:
        common = msgspec.structs.replace(common, user_id=user_id)
    values, flags, parts = _values_of(common), _ID_FLAGS, []
    for places in _AROUND_IDS:
        of_part, part = _encoded(values[places], ENCODERS[places])
        flags |= of_part
        parts.append(part)
    before, between, after = parts
    # an octet for the length of each id
    size = _HEADER_FIXED_BYTES + len(before) + len(between) + len(after) + 2
    return size, _pack_flags(flags) + before, between, after + FRAME_END


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

"""AMQP frames of the hot paths, packed and unpacked by hand: publish, deliver, ack. Pure.

Everything else goes through pika's own codec, which is general and several times slower.
Source: AMQP 0-9-1 specification, sections 2.3.5 and 4.2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pika.data
import pika.spec

from reworker.bus.contract import Properties

METHOD, HEADER, BODY = 1, 2, 3
FRAME_END = b"\xce"
FRAME_END_BYTE = 0xCE
#: bytes around a frame's payload.
FRAME_OVERHEAD_BYTES = 8
#: method ids: class in the upper, method in the lower half.
BASIC_ACK, BASIC_NACK, BASIC_DELIVER = 0x003C0050, 0x003C0078, 0x003C003C
_BASIC_PUBLISH = 0x003C0028
_BASIC_CLASS = 60
_MANDATORY = 1
_MULTIPLE, _REQUEUE = 1, 2

unpack_frame_head = struct.Struct(">BHL").unpack_from
unpack_method_id = struct.Struct(">L").unpack_from
#: delivery tag and bits of basic.ack and basic.nack.
unpack_confirm = struct.Struct(">QB").unpack_from
unpack_body_size = struct.Struct(">Q").unpack_from
_pack_frame_head = struct.Struct(">BHL").pack
_pack_content = struct.Struct(">HHQH").pack
_pack_settle = struct.Struct(">BHLLQBB").pack
_unpack_tag = struct.Struct(">QB").unpack_from
_unpack_flags = struct.Struct(">H").unpack_from
_unpack_timestamp = struct.Struct(">Q").unpack_from
_pack_timestamp = struct.Struct(">Q").pack


def _short(text: str) -> bytes:
    raw = text.encode("utf-8")
    if len(raw) > 255:
        raise ValueError(f"AMQP short strings hold 255 bytes, this one has {len(raw)}: {text[:60]!r}...")
    return bytes((len(raw),)) + raw


def _octet(number: int) -> bytes:
    return bytes((number,))


def _table(values: dict[str, Any]) -> bytes:
    pieces: list[bytes] = []
    pika.data.encode_table(pieces, values)
    return b"".join(pieces)


_ENCODERS: tuple[tuple[str, int, Callable[[Any], bytes]], ...] = (
    ("content_type", 1 << 15, _short),
    ("content_encoding", 1 << 14, _short),
    ("headers", 1 << 13, _table),
    ("delivery_mode", 1 << 12, _octet),
    ("priority", 1 << 11, _octet),
    ("correlation_id", 1 << 10, _short),
    ("reply_to", 1 << 9, _short),
    ("expiration", 1 << 8, _short),
    ("message_id", 1 << 7, _short),
    ("timestamp", 1 << 6, _pack_timestamp),
    ("type", 1 << 5, _short),
    ("user_id", 1 << 4, _short),
    ("app_id", 1 << 3, _short),
    ("cluster_id", 1 << 2, _short),
)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """Return one frame."""
    return _pack_frame_head(kind, channel, len(payload)) + payload + FRAME_END


def publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    """Return the method frame of a mandatory basic.publish.

    Raises:
        ValueError: a name is over 255 bytes.
    """
    method = struct.pack(">LH", _BASIC_PUBLISH, 0)
    return frame(METHOD, channel, method + _short(exchange) + _short(routing_key) + _octet(_MANDATORY))


def header_frame(channel: int, body_size_bytes: int, properties: Properties) -> bytes:
    """Return the content header frame of a message.

    Raises:
        ValueError: a property is too long or out of range.
        AttributeError, TypeError, struct.error: a property has a type that AMQP cannot carry.
    """
    flags, pieces = 0, []
    for name, flag, encode in _ENCODERS:
        value = getattr(properties, name)
        if value is not None:
            flags |= flag
            pieces.append(encode(value))
    payload = _pack_content(_BASIC_CLASS, 0, body_size_bytes, flags) + b"".join(pieces)
    return _pack_frame_head(HEADER, channel, len(payload)) + payload + FRAME_END


def body_frames(channel: int, body: bytes, frame_max_bytes: int) -> bytes:
    """Return a body as frames of at most the negotiated size; empty for an empty body."""
    limit = frame_max_bytes - FRAME_OVERHEAD_BYTES
    if 0 < len(body) <= limit:
        return _pack_frame_head(BODY, channel, len(body)) + body + FRAME_END
    starts = range(0, len(body), limit)
    return b"".join(frame(BODY, channel, body[start : start + limit]) for start in starts)


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


def _read_short(data: bytes, place: int) -> tuple[str, int]:
    start = place + 1
    stop = start + data[place]
    return data[start:stop].decode("utf-8", "surrogateescape"), stop


def _read_octet(data: bytes, place: int) -> tuple[int, int]:
    return data[place], place + 1


def _read_timestamp(data: bytes, place: int) -> tuple[int, int]:
    number: int = _unpack_timestamp(data, place)[0]
    return number, place + 8


_READERS: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "headers": pika.data.decode_table,
    "delivery_mode": _read_octet,
    "priority": _read_octet,
    "timestamp": _read_timestamp,
}
_DECODERS = tuple((name, flag, _READERS.get(name, _read_short)) for name, flag, _ in _ENCODERS)


def read_properties(data: bytes, place: int) -> ReceivedProperties:
    """Return the properties of a content header frame; `place` is that of the property flags."""
    flags = _unpack_flags(data, place)[0]
    place += 2
    properties = ReceivedProperties()
    values = properties.__dict__
    for name, flag, read in _DECODERS:
        if flags & flag:
            values[name], place = read(data, place)
    return properties


def read_deliver(data: bytes, place: int) -> tuple[int, bool, str, str]:
    """Return (delivery tag, redelivered, exchange, routing key); `place` is that of the consumer tag."""
    place += 1 + data[place]
    tag, bits = _unpack_tag(data, place)
    exchange, place = _read_short(data, place + 9)
    routing_key, _ = _read_short(data, place)
    return tag, bool(bits & 1), exchange, routing_key

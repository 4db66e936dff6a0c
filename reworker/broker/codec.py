"""Frames and methods on the wire: bytes in, bytes out, no state.

Methods are pika's, except the hot ones (publish, deliver, ack), which are packed and unpacked by hand.
"""

from __future__ import annotations

import struct
from typing import Any

from pika import data as pika_data
from pika import exceptions
from pika import spec as spec

from reworker.broker.errors import BrokerError

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
#: what a client must send first. Source: AMQP 0-9-1, 4.2.2.
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
HEARTBEAT_FRAME = b"\x08\x00\x00\x00\x00\x00\x00\xce"
#: how a client agrees to connection.close.
CLOSE_OK_FRAME = b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\xce"
#: bytes around a payload: type, channel, size, end mark.
FRAME_OVERHEAD_BYTES = 8

#: the first four payload bytes of the hot methods.
PUBLISH = b"\x00\x3c\x00\x28"
ACK = b"\x00\x3c\x00\x50"

FRAME_START = struct.Struct(">BHI")
_CONTENT = struct.Struct(">BHIHHQ")
_ACK_BODY = struct.Struct(">QB")
_ACK_FRAME = struct.Struct(">BHIIQBB")
_DELIVERY = struct.Struct(">QB")

#: what pika raises for bytes that are no table or no method.
_DECODE_ERRORS = (
    struct.error,
    ValueError,
    OverflowError,
    IndexError,
    TypeError,
    RecursionError,
    exceptions.AMQPError,
)

#: method id -> (short strings, bit bytes) between the reserved short and the arguments table.
_BEFORE_ARGUMENTS = {
    spec.Queue.Declare.INDEX: (1, 1),
    spec.Queue.Bind.INDEX: (3, 1),
    spec.Queue.Unbind.INDEX: (3, 0),
    spec.Exchange.Declare.INDEX: (2, 1),
    spec.Exchange.Bind.INDEX: (3, 1),
    spec.Exchange.Unbind.INDEX: (3, 1),
    spec.Basic.Consume.INDEX: (2, 1),
}


class Table(dict[str, Any]):
    """A decoded arguments table that keeps its own bytes, because decoding loses field types."""

    raw: bytes = b"\x00\x00\x00\x00"


def text(raw: bytes) -> str:
    """Return a name of the wire as str; bytes that are no UTF-8 survive the way back."""
    return raw.decode("utf-8", "surrogateescape")


def raw_text(value: str) -> bytes:
    """Return the wire's bytes of a name."""
    return value.encode("utf-8", "surrogateescape")


def short(value: str) -> bytes:
    """Return `value` as a short string, at most 255 bytes."""
    raw = raw_text(value)
    return bytes((len(raw),)) + raw


def decode_table(raw: bytes) -> Table:
    """Return a table with its length prefix as a dict that remembers its bytes.

    Raises:
        BrokerError: 502, the bytes are no table.
    """
    try:
        values, _ = pika_data.decode_table(raw, 0)
    except _DECODE_ERRORS as error:
        raise BrokerError(502, f"bad table: {error}") from error
    table = Table(values)
    table.raw = raw
    return table


def method_id(payload: bytes) -> int:
    """Return class and method id of a method frame's payload; 0 when it is too short."""
    return int.from_bytes(payload[:4], "big") if len(payload) >= 4 else 0


def decode_method(payload: bytes) -> Any:
    """Return pika's object of a method frame; its names are str, its arguments a `Table`.

    Raises:
        BrokerError: 502 for malformed arguments, 540 for an unknown method.
    """
    index = method_id(payload)
    cls = spec.methods.get(index)
    if cls is None:
        raise BrokerError(540, f"unknown method {index >> 16}.{index & 0xFFFF}", index)
    # pika's constructors want what decode sets
    method = cls.__new__(cls)
    try:
        method.decode(payload, 4)
        if index in _BEFORE_ARGUMENTS:
            table = Table(method.arguments)
            table.raw = payload[_arguments_offset(payload, *_BEFORE_ARGUMENTS[index]) :]
            method.arguments = table
    except _DECODE_ERRORS as error:
        raise BrokerError(502, f"cannot decode {cls.NAME}: {error}", index) from error
    for name, value in vars(method).items():
        if type(value) is bytes and name not in ("response", "new_secret"):
            setattr(method, name, text(value))
    return method


def _arguments_offset(payload: bytes, strings: int, bits: int) -> int:
    offset = 6
    for _ in range(strings):
        offset += 1 + payload[offset]
    return offset + bits


def encode_method(channel: int, method: Any) -> bytes:
    """Return the frame of a method."""
    for name, value in vars(method).items():
        if type(value) is str and not value.isascii():
            setattr(method, name, raw_text(value))
    payload = struct.pack(">I", method.INDEX) + b"".join(method.encode())
    return _frame(METHOD, channel, payload)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME_START.pack(kind, channel, len(payload)) + payload + b"\xce"


def decode_publish(payload: bytes) -> tuple[str, str, bool, bool]:
    """Return (exchange, routing key, mandatory, immediate) of a basic.publish."""
    try:
        key_at = 7 + payload[6]
        bits_at = key_at + 1 + payload[key_at]
        bits = payload[bits_at]
    except IndexError as error:
        raise BrokerError(502, "cannot decode Basic.Publish", method_id(payload)) from error
    return text(payload[7:key_at]), text(payload[key_at + 1 : bits_at]), bool(bits & 1), bool(bits & 2)


def decode_ack(payload: bytes) -> tuple[int, bool]:
    """Return (delivery tag, multiple) of a basic.ack."""
    try:
        tag, bits = _ACK_BODY.unpack_from(payload, 4)
    except struct.error as error:
        raise BrokerError(502, "cannot decode Basic.Ack", method_id(payload)) from error
    return tag, bool(bits & 1)


def decode_header(payload: bytes) -> tuple[int, int, bytes]:
    """Return (class id, body size in bytes, raw properties) of a content header."""
    if len(payload) < 14:
        raise BrokerError(502, "content header is too short")
    return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[4:12], "big"), payload[12:]


def encode_confirm(channel: int, tag: int, *, multiple: bool, is_ack: bool) -> bytes:
    """Return the frame of a basic.ack or basic.nack for a publisher."""
    index = 0x003C0050 if is_ack else 0x003C0078
    return _ACK_FRAME.pack(METHOD, channel, 13, index, tag, multiple, FRAME_END)


def encode_deliver(channel: int, consumer: bytes, tag: int, redelivered: bool, address: bytes) -> bytes:
    """Return the frame of a basic.deliver, without its content.

    Args:
        channel: channel number.
        consumer: the consumer tag as a short string on the wire.
        tag: delivery tag.
        redelivered: whether it was delivered before.
        address: exchange and routing key as two short strings.
    """
    payload = b"\x00\x3c\x00\x3c" + consumer + _DELIVERY.pack(tag, redelivered) + address
    return FRAME_START.pack(METHOD, channel, len(payload)) + payload + b"\xce"


def encode_get_ok(channel: int, tag: int, redelivered: bool, address: bytes, left_count: int) -> bytes:
    """Return the frame of a basic.get-ok, without its content."""
    payload = b"\x00\x3c\x00\x47" + _DELIVERY.pack(tag, redelivered) + address
    return _frame(METHOD, channel, payload + left_count.to_bytes(4, "big"))


def encode_return(channel: int, address: bytes) -> bytes:
    """Return the frame of a basic.return for an unroutable message, without its content."""
    payload = b"\x00\x3c\x00\x32" + (312).to_bytes(2, "big") + short("NO_ROUTE") + address
    return _frame(METHOD, channel, payload)


def encode_content(channel: int, props: bytes, body: bytes, frame_max: int) -> bytes:
    """Return header and body frames, split so that none is larger than `frame_max` bytes; 0 is no limit."""
    size = len(body)
    header = _CONTENT.pack(HEADER, channel, 12 + len(props), 60, 0, size) + props
    if not size:
        return header + b"\xce"
    room = frame_max - FRAME_OVERHEAD_BYTES if frame_max else size
    if size <= room:
        return b"".join((header, b"\xce", FRAME_START.pack(BODY, channel, size), body, b"\xce"))
    pieces = [header, b"\xce"]
    for start in range(0, size, room):
        pieces.append(_frame(BODY, channel, body[start : start + room]))
    return b"".join(pieces)

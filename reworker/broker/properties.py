"""Message properties as raw bytes: read the few that matter, change one without touching the others.

A user's properties are never decoded and encoded again: field types and odd values would be lost.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from reworker.broker.errors import BrokerError

#: flag bit, name and wire type (s short string, t table, b octet, q 64 bits), in wire order.
#: Source: AMQP 0-9-1, class basic.
FIELDS = (
    (1 << 15, "content_type", "s"),
    (1 << 14, "content_encoding", "s"),
    (1 << 13, "headers", "t"),
    (1 << 12, "delivery_mode", "b"),
    (1 << 11, "priority", "b"),
    (1 << 10, "correlation_id", "s"),
    (1 << 9, "reply_to", "s"),
    (1 << 8, "expiration", "s"),
    (1 << 7, "message_id", "s"),
    (1 << 6, "timestamp", "q"),
    (1 << 5, "type", "s"),
    (1 << 4, "user_id", "s"),
    (1 << 3, "app_id", "s"),
    (1 << 2, "cluster_id", "s"),
)
_BITS = {name: bit for bit, name, _ in FIELDS}
#: bytes of table values with a fixed size, by type letter. Source: RabbitMQ's errata of AMQP 0-9-1.
_FIXED = {
    ord(letter): size
    for letters, size in (("tbB", 1), ("sUu", 2), ("IifD", 4), ("lLdT", 8), ("V", 0))
    for letter in letters
}
_FIXED[ord("D")] = 5
_SIZED = frozenset(b"SxAF")
#: tables inside tables are followed this deep at most.
MAX_DEPTH = 64


class Facts(NamedTuple):
    """What the broker itself needs to know of a message's properties."""

    is_persistent: bool
    priority: int
    expiration: bytes | None
    reply_to: bytes | None
    user_id: bytes | None
    headers: bytes | None


def spans(props: bytes) -> dict[str, tuple[int, int]]:
    """Return where each present property lies: name -> (start, end) in bytes, length prefixes included.

    Raises:
        BrokerError: 502, the bytes are no properties.
    """
    flags = int.from_bytes(props[:2], "big")
    if flags & 3 or len(props) < 2:
        raise BrokerError(502, "unknown property flags")
    found: dict[str, tuple[int, int]] = {}
    at = 2
    try:
        for bit, name, kind in FIELDS:
            if flags & bit:
                end = at + _size(props, at, kind)
                found[name] = (at, end)
                at = end
    except (IndexError, struct.error) as error:
        raise BrokerError(502, "truncated properties") from error
    if at != len(props):
        raise BrokerError(502, "properties do not fill their frame")
    return found


def _size(raw: bytes, at: int, kind: str) -> int:
    if kind == "s":
        return 1 + raw[at]
    if kind == "t":
        return 4 + int(struct.unpack_from(">I", raw, at)[0])
    return 1 if kind == "b" else 8


def facts(props: bytes) -> Facts:
    """Return what the broker needs of raw properties, headers checked to be a table."""
    where = spans(props)

    def get(name: str, skip: int) -> bytes | None:
        span = where.get(name)
        return props[span[0] + skip : span[1]] if span else None

    mode, priority = get("delivery_mode", 0), get("priority", 0)
    headers = get("headers", 0)
    if headers is not None:
        fields(headers)
    return Facts(
        mode == b"\x02",
        priority[0] if priority else 0,
        get("expiration", 1),
        get("reply_to", 1),
        get("user_id", 1),
        headers,
    )


def with_property(props: bytes, name: str, value: bytes | None) -> bytes:
    """Return properties with one property set to its wire bytes, or removed when `value` is None."""
    where = spans(props)
    bit = _BITS[name]
    flags = int.from_bytes(props[:2], "big")
    flags = flags & ~bit if value is None else flags | bit
    pieces = [flags.to_bytes(2, "big")]
    for _, field, _ in FIELDS:
        if field == name:
            pieces.append(value or b"")
        elif field in where:
            pieces.append(props[where[field][0] : where[field][1]])
    return b"".join(pieces)


def headers_of(props: bytes) -> dict[bytes, bytes]:
    """Return the headers as name -> typed value, both raw."""
    span = spans(props).get("headers")
    return fields(props[span[0] : span[1]]) if span else {}


def with_headers(props: bytes, headers: dict[bytes, bytes]) -> bytes:
    """Return properties whose headers are these raw values."""
    return with_property(props, "headers", table(headers) if headers else None)


def fields(raw: bytes) -> dict[bytes, bytes]:
    """Split a table with its length prefix into name -> typed value, both raw.

    Raises:
        BrokerError: 502, the bytes are no table.
    """
    found: dict[bytes, bytes] = {}
    try:
        at, end = 4, 4 + struct.unpack_from(">I", raw)[0]
        while at < end:
            key_end = at + 1 + raw[at]
            value_end = skip_value(raw, key_end)
            found[raw[at + 1 : key_end]] = raw[key_end:value_end]
            at = value_end
    except (IndexError, struct.error) as error:
        raise BrokerError(502, "truncated table") from error
    if at != end or end > len(raw):
        raise BrokerError(502, "table does not fill its length")
    return found


def skip_value(raw: bytes, at: int, depth: int = 0) -> int:
    """Return where the typed value that begins at `at` ends; what is inside a nested table is checked too."""
    kind = raw[at]
    size = _FIXED.get(kind)
    if size is not None:
        return at + 1 + size
    if kind not in _SIZED or depth > MAX_DEPTH:
        raise BrokerError(502, f"unknown field type {kind} or too deep a table")
    inner = at + 5
    end = inner + int(struct.unpack_from(">I", raw, at + 1)[0])
    while kind in b"AF" and inner < end:
        inner = skip_value(raw, inner if kind == 0x41 else inner + 1 + raw[inner], depth + 1)
    return end


def table(values: dict[bytes, bytes]) -> bytes:
    """Return a table with its length prefix from name -> typed value, both raw."""
    body = b"".join(bytes((len(key),)) + key + value for key, value in values.items())
    return struct.pack(">I", len(body)) + body


def text_value(value: bytes) -> bytes:
    """Return a long string as a typed value."""
    return b"S" + struct.pack(">I", len(value)) + value


def int_value(value: int) -> bytes:
    """Return a signed 64-bit integer as a typed value."""
    return b"l" + struct.pack(">q", value)


def time_value(unix_s: int) -> bytes:
    """Return a timestamp as a typed value."""
    return b"T" + struct.pack(">Q", unix_s)


def array_value(values: list[bytes]) -> bytes:
    """Return an array of typed values as a typed value."""
    body = b"".join(values)
    return b"A" + struct.pack(">I", len(body)) + body


def array_items(value: bytes) -> list[bytes] | None:
    """Split a typed array into its typed values; None when it is no array."""
    if value[:1] != b"A":
        return None
    items: list[bytes] = []
    at = 5
    while at < len(value):
        end = skip_value(value, at)
        items.append(value[at:end])
        at = end
    return items

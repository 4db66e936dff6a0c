"""Identifiers: 24 lowercase hex characters, ordered by time; and attempt ids made from them. Pure.

Layout of an id: 12 hex digits of milliseconds since 1970, then 12 hex digits of randomness.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime

ID_PATTERN = re.compile(r"[0-9a-f]{24}")
_ATTEMPT_PATTERN = re.compile(r"([0-9a-f]{24})\.([1-9][0-9]{0,8})")

#: bits of randomness in an id: two ids of one millisecond collide with probability 2**-48.
RANDOM_BITS = 48
#: characters of a message id that is sent as it is: of four bytes each they fit into AMQP's 255 bytes.
MESSAGE_ID_CHARACTERS = 63


def make_id(at: datetime, random_bits: int) -> str:
    """Return the id of this moment.

    Args:
        at: aware wall time.
        random_bits: the low 48 bits are used.
    """
    millis = int(at.timestamp() * 1000) & 0xFFFFFFFFFFFF
    return f"{millis:012x}{random_bits & 0xFFFFFFFFFFFF:012x}"


def first_id(at: datetime) -> str:
    """Return the id that is not greater than any of this moment, and greater than all before."""
    return make_id(at, 0)


def new_id(at: datetime) -> str:
    """Return a fresh id for this moment, with randomness of the operating system."""
    return make_id(at, secrets.randbits(RANDOM_BITS))


def is_id(text: object) -> bool:
    """Tell whether `text` is an id of ours."""
    return isinstance(text, str) and ID_PATTERN.fullmatch(text) is not None


def attempt_id(deployment_id: str, number: int) -> str:
    """Return the id of a deployment's `number`-th attempt, from 1; it is the correlation id on the wire."""
    return f"{deployment_id}.{number}"


def bounded_id(text: str) -> str:
    """Return an id of a message that any correlation id leaves room for, the same in every run."""
    if len(text) <= MESSAGE_ID_CHARACTERS:
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def parse_attempt_id(text: object) -> tuple[str, int] | None:
    """Return (deployment id, attempt number), or None when `text` is no attempt id of ours."""
    match = _ATTEMPT_PATTERN.fullmatch(text) if isinstance(text, str) else None
    return (match[1], int(match[2])) if match else None


def delivery_key(correlation_id: str | None, body: bytes) -> str:
    """Return what tells messages of level 1 apart: steps of a deployment share a correlation id there."""
    return f"{correlation_id}#{hashlib.blake2b(body, digest_size=8).hexdigest()}"

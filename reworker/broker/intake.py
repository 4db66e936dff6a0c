"""Puts a basic.publish and its content frames together into one publish. No I/O."""

from __future__ import annotations

from typing import NamedTuple

from reworker.broker import codec
from reworker.broker.codec import spec
from reworker.broker.errors import BrokerError, precondition_failed
from reworker.broker.model import MAX_BODY_BYTES


class Publish(NamedTuple):
    """A publish as it arrived; `props` are raw."""

    exchange: str
    routing_key: str
    mandatory: bool
    props: bytes
    body: bytes


class Intake:
    """The publish that is arriving on one channel, if any."""

    def __init__(self) -> None:
        self._head: tuple[str, str, bool] | None = None
        self._props = b""
        self._missing_bytes = -1
        self._parts: list[bytes] = []

    @property
    def is_busy(self) -> bool:
        """Whether a content frame has to come next."""
        return self._head is not None

    def begin(self, payload: bytes) -> None:
        """Take a basic.publish; raises 540 for immediate."""
        exchange, key, mandatory, immediate = codec.decode_publish(payload)
        if immediate:
            raise BrokerError(540, "immediate=true")
        self._head, self._missing_bytes, self._parts = (exchange, key, mandatory), -1, []

    def header(self, payload: bytes) -> Publish | None:
        """Take a content header and return the publish when its body is empty; raises 406, 502, 505."""
        if self._head is None or self._missing_bytes >= 0:
            raise BrokerError(505, "expected method frame, got content header frame instead")
        class_id, size, self._props = codec.decode_header(payload)
        if class_id != spec.Basic.INDEX:
            raise BrokerError(
                505, f"expected content header for class 60, got one for class {class_id} instead"
            )
        if size > MAX_BODY_BYTES:
            raise precondition_failed(
                f"message size {size} is larger than configured max size {MAX_BODY_BYTES}"
            )
        self._missing_bytes = size
        return None if size else self._finished()

    def body(self, payload: bytes) -> Publish | None:
        """Take a piece of the body and return the publish when it was the last; raises 505."""
        if self._missing_bytes < 0:
            raise BrokerError(505, "expected content header or method frame, got content body frame instead")
        self._parts.append(payload)
        self._missing_bytes -= len(payload)
        if self._missing_bytes < 0:
            raise BrokerError(505, "content body is longer than its header said")
        return None if self._missing_bytes else self._finished()

    def _finished(self) -> Publish:
        exchange, key, mandatory = self._head or ("", "", False)
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._head, self._missing_bytes, self._parts = None, -1, []
        return Publish(exchange, key, mandatory, self._props, body)

"""Head and body of an answer leave in one piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reworker.web.protocol import JOINED_BYTES, JoinedWrites


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.is_closed = True


class Loop:
    """Keeps what is to be called soon."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)


def made() -> tuple[Transport, Loop, JoinedWrites]:
    transport, loop = Transport(), Loop()
    both: Any = (transport, loop)
    return transport, loop, JoinedWrites(*both)


def test_pieces_are_joined_until_the_loop_goes_on() -> None:
    transport, loop, joined = made()
    for piece in (b"head", b"", b"body"):
        joined.write(piece)
    assert transport.written == []
    (call,) = loop.soon
    call()
    assert transport.written == [b"headbody"]
    joined.flush()
    joined.write(b"next")
    joined.flush()
    assert transport.written == [b"headbody", b"next"]


def test_much_is_sent_at_once() -> None:
    transport, _, joined = made()
    joined.write(b"head")
    joined.write(b"x" * JOINED_BYTES)
    assert transport.written == [b"head" + b"x" * JOINED_BYTES]


def test_end_sends_what_was_kept() -> None:
    transport, _, joined = made()
    joined.write(b"last")
    joined.close()
    assert (transport.written, transport.is_closed) == ([b"last"], True)

"""A proxy that counts the AMQP frames of a connection, and cuts, freezes or delays it at the k-th.

It reads the frames' lengths and nothing else, so TLS must end elsewhere.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import msgspec

#: bytes of the header that a client sends first, and of a frame around its payload.
#: Source: AMQP 0-9-1, 4.2.2 and 4.2.3.
PROTOCOL_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_END_BYTES = 8, 7, 1
CHUNK_BYTES = 64 << 10
#: seconds to reach the server.
CONNECT_S = 5.0
#: close with a reset instead of a goodbye.
_RESET = struct.pack("ii", 1, 0)


class Side(enum.StrEnum):
    """A direction of a connection."""

    #: to the broker.
    UP = "up"
    #: to the client.
    DOWN = "down"


class Harm(enum.StrEnum):
    """What is done to a connection just before a frame would pass."""

    #: closed, with the goodbye of TCP.
    CUT = "cut"
    #: closed with a reset: what was on its way is lost.
    RESET = "reset"
    #: silent in both directions for a while.
    FREEZE = "freeze"
    #: silent in this direction for a while.
    DELAY = "delay"


class FrameFault(msgspec.Struct, frozen=True):
    """What to do to a connection before a frame of one direction, for `hold_s`; 0 is the protocol header."""

    side: Side
    number: int
    harm: Harm = Harm.CUT
    hold_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.harm} before frame {self.number} {self.side}"


class FrameCounter:
    """Cuts a stream of one direction into frames; pure.

    Args:
        has_header: the stream begins with the protocol header.
    """

    def __init__(self, *, has_header: bool) -> None:
        self._buffer = bytearray()
        self._has_header = has_header

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what has come and yield every whole frame, and before them the protocol header."""
        self._buffer += data
        while (length := self._next_length()) and len(self._buffer) >= length:
            frame = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._has_header = False
            yield frame

    def _next_length(self) -> int:
        if self._has_header:
            return PROTOCOL_HEADER_BYTES
        header = self._buffer[:FRAME_HEADER_BYTES]
        if len(header) < FRAME_HEADER_BYTES:
            return 0
        _, _, payload = struct.unpack(">BHI", header)
        return FRAME_HEADER_BYTES + int(payload) + FRAME_END_BYTES


class FrameProxy:
    """Forwards connections of a free local port to a broker. Use as a context manager.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 5672)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._parts = parts
        self._links: set[_Link] = set()
        self._guard = threading.Lock()
        self._fault: FrameFault | None = None
        self._victims_left = 0
        #: connections that a fault has met since `arm`.
        self.strike_count = 0
        #: number of the last frame in each direction, of the longest connection since `cut_all`.
        self.last_numbers = dict.fromkeys(Side, 0)
        self._thread = threading.Thread(target=self._accept, name="frame proxy", daemon=True)

    @property
    def url(self) -> str:
        """The broker's URL with our address in it."""
        login = f"{self._parts.username}:{self._parts.password}@" if self._parts.username else ""
        port = self._listener.getsockname()[1]
        return urlunsplit(self._parts._replace(netloc=f"{login}127.0.0.1:{port}"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.disarm()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut_all()

    def arm(self, fault: FrameFault, victim_count: int) -> None:
        """Cut every connection; of those that come next, so many are harmed at their own k-th frame."""
        with self._guard:
            self._fault, self._victims_left, self.strike_count = fault, victim_count, 0
        self.cut_all()

    def disarm(self) -> None:
        """Harm no new connection."""
        with self._guard:
            self._fault = None

    def cut_all(self) -> None:
        """Close every connection."""
        with self._guard:
            links, self._links = self._links, set()
            self.last_numbers = dict.fromkeys(Side, 0)
        for link in links:
            link.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                server = socket.create_connection(self._server, CONNECT_S)
                self._join(client, server)
                continue
            client.close()

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._guard:
            fault = self._fault if self._victims_left > 0 else None
            self._victims_left -= 1
            link = _Link(client, server, fault)
            self._links.add(link)
        for side in Side:
            threading.Thread(target=self._run, args=(link, side), daemon=True).start()

    def _run(self, link: _Link, side: Side) -> None:
        for number, is_struck in link.pump(side):
            with self._guard:
                self.strike_count += is_struck
                if link in self._links:
                    self.last_numbers[side] = max(self.last_numbers[side], number)
        with self._guard:
            self._links.discard(link)


class _Link:
    """The two sockets of one connection, each read by a thread of its own."""

    def __init__(self, client: socket.socket, server: socket.socket, fault: FrameFault | None) -> None:
        self._ends = {Side.UP: (client, server), Side.DOWN: (server, client)}
        self._fault = fault
        self._gate, self._guard = threading.Event(), threading.Lock()
        self._gate.set()
        self._is_closed = False

    def pump(self, side: Side) -> Iterator[tuple[int, bool]]:
        """Forward one direction until its end; yields each frame's number, and whether the fault comes."""
        source, target = self._ends[side]
        fault = self._fault if self._fault and self._fault.side is side else None
        with contextlib.suppress(OSError):
            for number, frame in _numbered(source, side):
                is_struck = fault is not None and fault.number == number
                yield number, is_struck
                if fault is not None and is_struck:
                    self._harm(fault)
                self._gate.wait()
                target.sendall(frame)
        self.close()

    def _harm(self, fault: FrameFault) -> None:
        if fault.harm in (Harm.CUT, Harm.RESET):
            self.close(is_reset=fault.harm is Harm.RESET)
        elif fault.harm is Harm.DELAY:
            time.sleep(fault.hold_s)
        else:
            self._gate.clear()
            time.sleep(fault.hold_s)
            self._gate.set()

    def close(self, *, is_reset: bool = False) -> None:
        """Close both sockets; safe twice."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
        for one, _ in self._ends.values():
            with contextlib.suppress(OSError):
                if is_reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # ends the thread that reads it, without which the socket stays open
                one.shutdown(socket.SHUT_RD if is_reset else socket.SHUT_RDWR)
            one.close()
        self._gate.set()


def _numbered(source: socket.socket, side: Side) -> Iterator[tuple[int, bytes]]:
    """Yield what comes from a socket, frame by frame; the protocol header is number 0."""
    counter = FrameCounter(has_header=side is Side.UP)
    number = 0 if side is Side.UP else 1
    while data := source.recv(CHUNK_BYTES):
        for frame in counter.feed(data):
            yield number, frame
            number += 1

"""A client that speaks frames by hand, so that it can break every rule of AMQP."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any, NamedTuple

import pika
from pika import frame, spec

HEADER = b"AMQP\x00\x00\x09\x01"


class Frame(NamedTuple):
    """A frame as it came; `method` is None when it is no method frame."""

    kind: int
    channel: int
    payload: bytes
    method: Any


class RawClient:
    """One socket to a broker.

    Args:
        url: AMQP URL, for host, port, vhost and login.
        is_open: open the connection and channel 1 at once.
        tune: (channel max, frame max, heartbeat in seconds) to answer.
    """

    def __init__(
        self, url: str, *, is_open: bool = True, tune: tuple[int, int, int] = (2047, 131072, 0)
    ) -> None:
        self.parameters = pika.URLParameters(url)
        self.socket = socket.create_connection((self.parameters.host, self.parameters.port), 30)
        # without this every small frame waits 40 ms for the acknowledgement of the one before
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if is_open:
            self.greet(tune=tune)
            self.call(1, spec.Channel.Open())

    def greet(
        self, *, tune: tuple[int, int, int] = (2047, 131072, 0), capabilities: dict[str, bool] | None = None
    ) -> None:
        """Open the connection."""
        self.socket.sendall(HEADER)
        self.next()
        properties = {"capabilities": capabilities or {}}
        self.call(0, spec.Connection.StartOk(properties, "PLAIN", b"\x00guest\x00guest", "en_US"))
        self.send(0, spec.Connection.TuneOk(*tune))
        self.call(0, spec.Connection.Open(self.parameters.virtual_host))

    def send(self, channel: int, method: Any) -> None:
        """Send a method."""
        self.socket.sendall(frame.Method(channel, method).marshal())

    def send_frame(self, kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> None:
        """Send any frame, right or wrong."""
        self.socket.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + end)

    def call(self, channel: int, method: Any) -> Any:
        """Send a method and return the method that answers."""
        self.send(channel, method)
        return self.method()

    def next(self) -> Frame | None:
        """Return the next frame, or None when the broker closed the socket."""
        head = self._read(7)
        if head is None:
            return None
        kind, channel, size = struct.unpack(">BHI", head)
        payload = (self._read(size + 1) or b"\x00")[:-1]
        if kind != 1:
            return Frame(kind, channel, payload, None)
        method = spec.methods[struct.unpack(">I", payload[:4])[0]]
        decoded = method.__new__(method).decode(payload, 4)
        return Frame(kind, channel, payload, decoded)

    def method(self) -> Any:
        """Return the next method; heartbeats are passed over."""
        while (one := self.next()) is not None:
            if one.method is not None:
                return one.method
        return None

    def _read(self, size: int) -> bytes | None:
        while len(self.buffer) < size:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                return None
            if not data:
                return None
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def close(self) -> None:
        """Cut the socket."""
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

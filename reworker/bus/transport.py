"""pika's connection with two changes: pending frames leave in one socket write, hot frames skip its codec.

pika writes every frame with a `send` call of its own and runs every frame received through its callback
tables. Here output waits for `flush`, once per turn of the I/O loop, and deliveries and confirms go
straight to their sinks. Everything else stays pika's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.utils.nbio_interface import AbstractStreamTransport
from pika.frame import decode_frame

from reworker.bus.inbound import FrameReader

#: bytes read from the socket at once; pika's own 4 KiB costs a system call for every few frames.
RECEIVE_BYTES = 64 << 10


class JoiningTransport(AbstractStreamTransport):  # type: ignore[misc]  # pika is untyped
    """Collects what is written and hands it on when flushed; partial writes and TLS stay the inner one's."""

    def __init__(self, inner: Any) -> None:
        #: False passes writes on at once, for the handshake, before anybody flushes.
        self.is_joining = False
        self._inner = inner
        self._pieces: list[bytes] = []
        self._socket: socket.socket | None = _plain_socket(inner)
        inner._MAX_RECV_BYTES = RECEIVE_BYTES
        if self._socket is not None:
            # One read per turn takes what is there; pika would try again until it is refused. TLS needs that.
            inner._MAX_CONSUME_BYTES = 1

    def write(self, data: bytes) -> None:
        """Keep some bytes until the next flush."""
        if self.is_joining:
            self._pieces.append(data)
        else:
            self._inner.write(data)

    def flush(self) -> None:
        """Write everything kept, in one piece."""
        if not self._pieces:
            return
        data = b"".join(self._pieces)
        self._pieces.clear()
        sent_count = 0
        if self._socket is not None and not self._inner.get_write_buffer_size():
            try:
                sent_count = self._socket.send(data)
            except OSError:  # full, or broken: the inner transport waits for room, or reports the loss
                sent_count = 0
        if sent_count < len(data):
            self._inner.write(data[sent_count:])

    def abort(self) -> None:
        """Close at once, without flushing."""
        self._pieces.clear()
        self._socket = None
        self._inner.abort()

    def get_protocol(self) -> Any:
        """Return the protocol on top of the inner transport."""
        return self._inner.get_protocol()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that are not in the operating system's hands yet."""
        return int(self._inner.get_write_buffer_size()) + sum(map(len, self._pieces))


def _plain_socket(inner: Any) -> socket.socket | None:
    """Return the socket under a plain-text transport; None where TLS has to encrypt first."""
    found = getattr(inner, "_sock", None)
    is_plain = isinstance(found, socket.socket) and not isinstance(found, ssl.SSLSocket)
    return found if is_plain else None


class WireConnection(pika.SelectConnection):  # type: ignore[misc]  # pika is untyped
    """A `SelectConnection` with joined writes and short ways for hot frames; only on the I/O thread.

    Attributes:
        reader: knows who takes deliveries and confirms.
        on_input: called before input is handled.
    """

    _frame_buffer: bytes

    def __init__(self, *args: Any, **options: Any) -> None:
        self.reader = FrameReader(self._pass_to_pika)
        self.on_input: Callable[[], None] | None = None
        self._joining: JoiningTransport | None = None
        self._was_open = False
        super().__init__(*args, **options)

    def join_writes(self) -> None:
        """Hold output back from now on; `flush` has to be called after each turn of the loop."""
        if self._joining is not None:
            self._joining.is_joining = True

    def write_raw(self, data: bytes) -> None:
        """Append complete frames to the output."""
        if self._transport is not None:
            self._transport.write(data)

    def flush(self) -> None:
        """Write all pending output."""
        if self._transport is not None and self._joining is not None:
            self._joining.flush()

    @property
    def frame_max_bytes(self) -> int:
        """Negotiated size of the largest frame."""
        return int(self.params.frame_max)

    @property
    def unwritten_bytes(self) -> int:
        """Bytes of output that the operating system has not taken yet."""
        return self._joining.get_write_buffer_size() if self._joining is not None else 0

    def _proto_connection_made(self, transport: Any) -> None:
        self._joining = JoiningTransport(transport)
        super()._proto_connection_made(self._joining)

    def _on_data_available(self, data_in: bytes) -> None:
        if self.on_input is not None:
            self.on_input()
        if not self._was_open:
            super()._on_data_available(data_in)
            self._was_open = bool(self.is_open)
            return
        self.bytes_received += len(data_in)
        data = self._frame_buffer + data_in if self._frame_buffer else data_in
        self._frame_buffer = data[self.reader.read(data, self.frame_max_bytes) :]

    def _pass_to_pika(self, frame: bytes) -> None:
        self._process_frame(decode_frame(frame)[1])

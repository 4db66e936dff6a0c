"""pika's connection with two changes: pending frames leave in one socket write, hot frames skip its codec.

pika writes every frame with a `send` call of its own and runs every frame received through its callback
tables. Here output waits for `flush`, once per turn of the I/O loop, and deliveries and confirms go
straight to their sinks. Everything else stays pika's.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any, Protocol

import pika
from pika.adapters.utils.nbio_interface import AbstractStreamTransport
from pika.exceptions import InvalidFrameError
from pika.frame import decode_frame

from reworker.bus import frames

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


class DeliverySink(Protocol):
    """Takes the deliveries of one channel."""

    def on_deliver(
        self, tag: int, redelivered: bool, exchange: str, routing_key: str, properties: Any, body: bytes
    ) -> None:
        """Take one complete delivery."""
        ...


class _Partial:
    """A delivery whose content is still arriving."""

    __slots__ = ("deliver", "missing_bytes", "pieces", "properties")

    def __init__(self, deliver: tuple[int, bool, str, str]) -> None:
        self.deliver = deliver
        self.properties: Any = None
        self.missing_bytes = 0
        self.pieces: list[bytes] = []


class WireConnection(pika.SelectConnection):  # type: ignore[misc]  # pika is untyped
    """A `SelectConnection` with joined writes and short ways for hot frames; only on the I/O thread.

    Attributes:
        delivery_sinks: by channel number, who takes deliveries.
        confirm_channel: number of the channel whose acks and nacks are publisher confirms.
        on_confirm: called with (delivery tag, is_multiple, is_ack).
        on_input: called before input is handled.
    """

    _frame_buffer: bytes

    def __init__(self, *args: Any, **options: Any) -> None:
        self.delivery_sinks: dict[int, DeliverySink] = {}
        self.confirm_channel = 0
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        self.on_input: Callable[[], None] | None = None
        self._partials: dict[int, _Partial] = {}
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
        self._frame_buffer = data[self._take_frames(data) :]

    def _take_frames(self, data: bytes) -> int:
        """Handle every complete frame; return the place where an incomplete one begins."""
        place, end = 0, len(data)
        largest = self.frame_max_bytes
        while end - place >= frames.FRAME_OVERHEAD_BYTES:
            kind, channel, size = frames.unpack_frame_head(data, place)
            stop = place + frames.FRAME_OVERHEAD_BYTES + size
            if size > largest:
                raise InvalidFrameError(f"a frame of {size} bytes is over the negotiated {largest}")
            if stop > end:
                break
            if data[stop - 1] != frames.FRAME_END_BYTE:
                raise InvalidFrameError("a frame has no end marker")
            if not self._take_hot(kind, channel, data, place + 7, size):
                self._process_frame(decode_frame(data[place:stop])[1])
            place = stop
        return place

    def _take_hot(self, kind: int, channel: int, data: bytes, place: int, size: int) -> bool:
        """Handle a frame if it is one of the hot ones; `place` is that of its payload."""
        if kind == frames.METHOD:
            method = frames.unpack_method_id(data, place)[0]
            if method == frames.BASIC_DELIVER and channel in self.delivery_sinks:
                self._partials[channel] = _Partial(frames.read_deliver(data, place + 4))
                return True
            if channel == self.confirm_channel and self.on_confirm is not None:
                return self._take_confirm(method, data, place + 4)
            return False
        partial = self._partials.get(channel)
        if partial is None:
            return False
        if kind == frames.HEADER:
            partial.missing_bytes = frames.unpack_body_size(data, place + 4)[0]
            partial.properties = frames.read_properties(data, place + 12)
        else:
            partial.missing_bytes -= size
            partial.pieces.append(data[place : place + size])
        if partial.missing_bytes <= 0:
            self._deliver(channel, partial)
        return True

    def _take_confirm(self, method: int, data: bytes, place: int) -> bool:
        if method not in (frames.BASIC_ACK, frames.BASIC_NACK) or self.on_confirm is None:
            return False
        tag, bits = frames.unpack_confirm(data, place)
        self.on_confirm(tag, bool(bits & 1), method == frames.BASIC_ACK)
        return True

    def _deliver(self, channel: int, partial: _Partial) -> None:
        del self._partials[channel]
        sink = self.delivery_sinks.get(channel)
        if sink is not None:
            pieces = partial.pieces
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            sink.on_deliver(*partial.deliver, partial.properties, body)

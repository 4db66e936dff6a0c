"""Reads frames: deliveries and confirms go straight to their sinks, everything else is passed on. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Protocol

from pika.exceptions import InvalidFrameError

from reworker.bus import frames, reading


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


class FrameReader:
    """Splits a stream into frames and deals with the hot ones.

    Attributes:
        delivery_sinks: by channel number, who takes deliveries.
        confirm_channel: number of the channel whose acks and nacks are publisher confirms.
        on_confirm: called with (delivery tag, is_multiple, is_ack).

    Args:
        pass_on: takes each complete frame of another kind.
    """

    def __init__(self, pass_on: Callable[[bytes], None]) -> None:
        self.delivery_sinks: dict[int, DeliverySink] = {}
        self.confirm_channel = 0
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        self._pass_on = pass_on
        self._partials: dict[int, _Partial] = {}

    def read(self, data: bytes, largest_bytes: int) -> int:
        """Handle every complete frame; return the place where an incomplete one begins.

        Args:
            data: begins with a frame.
            largest_bytes: negotiated size of a frame.

        Raises:
            InvalidFrameError: this is no AMQP.
        """
        place, end = 0, len(data)
        while end - place >= frames.FRAME_OVERHEAD_BYTES:
            kind, channel, size = reading.unpack_frame_head(data, place)
            stop = place + frames.FRAME_OVERHEAD_BYTES + size
            if size > largest_bytes:
                raise InvalidFrameError(f"a frame of {size} bytes is over the negotiated {largest_bytes}")
            if stop > end:
                break
            if data[stop - 1] != frames.FRAME_END_BYTE:
                raise InvalidFrameError("a frame has no end marker")
            if kind == frames.METHOD and channel in self.delivery_sinks:
                whole = self._take_whole(channel, data, place + 7, stop, largest_bytes)
                if whole:
                    place = whole
                    continue
            if not self._take_hot(kind, channel, data, place + 7, size):
                self._pass_on(data[place:stop])
            place = stop
        return place

    def _take_whole(self, channel: int, data: bytes, place: int, stop: int, largest_bytes: int) -> int:
        """Handle a delivery at once when the next two frames are all of its content: they mostly are.

        Args:
            channel: that consumes.
            data: what has come.
            place: that of the method frame's payload.
            stop: where that frame ends.
            largest_bytes: negotiated size of a frame.

        Returns:
            Where the content ends; 0 when this is something else, which takes the general way.
        """
        if data[place : place + 4] != frames.DELIVER_BYTES:
            return 0
        end: int
        try:
            kind, number, size, _, body_bytes = reading.unpack_header_head(data, stop)
            middle = stop + frames.FRAME_OVERHEAD_BYTES + size
            end = middle + frames.FRAME_OVERHEAD_BYTES + body_bytes
            are_ended = data[middle - 1] == frames.FRAME_END_BYTE == data[end - 1]
            is_one = data[middle : middle + 7] == frames.pack_frame_head(frames.BODY, channel, body_bytes)
        except (IndexError, struct.error):  # not here yet
            return 0
        is_ours = number == channel and kind == frames.HEADER
        if not (is_one and is_ours and are_ended) or size > largest_bytes or body_bytes > largest_bytes:
            return 0
        properties = reading.read_properties(data, stop + 19)
        tag, is_again, exchange, key = reading.read_deliver(data, place + 4, stop - 1)
        sink = self.delivery_sinks[channel]
        sink.on_deliver(tag, is_again, exchange, key, properties, data[middle + 7 : end - 1])
        return end

    def _take_hot(self, kind: int, channel: int, data: bytes, place: int, size: int) -> bool:
        """Handle a frame if it is one of the hot ones; `place` is that of its payload."""
        if kind == frames.METHOD:
            method = reading.unpack_method_id(data, place)[0]
            if method == frames.BASIC_DELIVER and channel in self.delivery_sinks:
                self._partials[channel] = _Partial(reading.read_deliver(data, place + 4, place + size))
                return True
            if method == frames.BASIC_GET_OK and channel in self.delivery_sinks:
                self._partials[channel] = _Partial(reading.read_get_ok(data, place + 4))
                return True
            if channel == self.confirm_channel and self.on_confirm is not None:
                return self._take_confirm(method, data, place + 4)
            return False
        partial = self._partials.get(channel)
        if partial is None:
            return False
        if kind == frames.HEADER:
            partial.missing_bytes = reading.unpack_body_size(data, place + 4)[0]
            partial.properties = reading.read_properties(data, place + 12)
        else:
            partial.missing_bytes -= size
            partial.pieces.append(data[place : place + size])
        if partial.missing_bytes <= 0:
            self._deliver(channel, partial)
        return True

    def _take_confirm(self, method: int, data: bytes, place: int) -> bool:
        if method not in (frames.BASIC_ACK, frames.BASIC_NACK) or self.on_confirm is None:
            return False
        tag, bits = reading.unpack_confirm(data, place)
        self.on_confirm(tag, bool(bits & 1), method == frames.BASIC_ACK)
        return True

    def _deliver(self, channel: int, partial: _Partial) -> None:
        del self._partials[channel]
        sink = self.delivery_sinks.get(channel)
        if sink is not None:
            pieces = partial.pieces
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            sink.on_deliver(*partial.deliver, partial.properties, body)

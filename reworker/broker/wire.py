"""The socket side of a connection: joined writes, throttled reads, heartbeats, closing. No AMQP methods."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from reworker.broker.codec import HEARTBEAT_FRAME
from reworker.broker.runtime import LoopRuntime

log = logging.getLogger(__name__)

#: bytes waiting for a slow reader after which it gets no more deliveries.
ROOM_BYTES = 512 * 1024
#: bytes waiting for a client that reads nothing after which we stop reading from it too.
CHOKE_BYTES = 16 * 1024 * 1024


class Wire(asyncio.BufferedProtocol):
    """One socket. What is sent is joined and leaves once per loop iteration, after the store's commit.

    A subclass says what to do with bytes (`_take`), with new room (`_on_room`) and before a flush
    (`_last_words`).
    """

    def __init__(self, runtime: LoopRuntime) -> None:
        self.runtime = runtime
        self.is_throttled = self.is_paused = False
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._is_writable, self._is_choked, self._is_reading = True, False, True
        self._has_written = False
        self._read_mono_s = runtime.mono_s()

    # What a subclass does

    def _take(self, data: bytes) -> None:
        """Take bytes that arrived."""
        raise NotImplementedError

    def _on_room(self) -> None:
        """Go on with what was held back because the client did not read."""
        raise NotImplementedError

    def _last_words(self) -> bytes:
        """Return what has to leave with this flush, behind everything else."""
        raise NotImplementedError

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket over."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=ROOM_BYTES)
        self._update_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the socket."""
        self._transport = None

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where bytes are to be put: the same place for all, as each takes its own out at once."""
        return self.runtime.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what arrived."""
        self._read_mono_s = self.runtime.mono_s()
        self._take(bytes(self.runtime.buffer[:nbytes]))

    def pause_writing(self) -> None:
        """Stop deliveries: the client does not read."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Go on with deliveries."""
        self._is_writable, self._is_choked = True, False
        self._update_reading()
        self._on_room()

    # Writing

    def send(self, data: bytes) -> None:
        """Queue frames for the socket; they leave after the store has committed."""
        if data:
            self._out_bytes += len(data)
            self._out.append(data)
            if len(self._out) == 1:
                self.runtime.schedule(self.flush)

    def has_room(self) -> bool:
        """Tell whether the client reads fast enough for more deliveries."""
        return self._is_writable and self._out_bytes < ROOM_BYTES

    def flush(self) -> None:
        """Write what is queued, the last words behind it; then let go on what had no room."""
        if self.is_paused or self._transport is None or self._transport.is_closing():
            return
        last = self._last_words()
        if last:
            self._out.append(last)
        if not self._out:
            return
        was_full = self._out_bytes >= ROOM_BYTES
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out, self._out_bytes, self._has_written = [], 0, True
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > CHOKE_BYTES:
            self._is_choked = True
            self._update_reading()
        if was_full and self._is_writable:
            self._on_room()

    # Reading

    def throttle(self, is_throttled: bool) -> None:
        """Stop or go on reading because of the broker's backlog."""
        self.is_throttled = is_throttled
        self._update_reading()

    def pause(self, is_paused: bool) -> None:
        """Freeze or thaw reading and writing; for tests."""
        self.is_paused = is_paused
        self._update_reading()
        self.runtime.schedule(self.flush)

    def _update_reading(self) -> None:
        """Read from the socket unless something speaks against it."""
        wanted = not (self.is_throttled or self._is_choked or self.is_paused)
        if self._transport is None or self._transport.is_closing() or wanted == self._is_reading:
            return
        self._is_reading = wanted
        self._read_mono_s = self.runtime.mono_s()
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # Heartbeats and the end

    def _beat_once(self, interval_s: float) -> None:
        """Send a heartbeat if nothing else was sent, and cut a client that was silent for two intervals."""
        silent_s = self.runtime.mono_s() - self._read_mono_s
        if self._is_reading and silent_s > 2 * interval_s:
            log.warning("a client sent nothing for %.1f s, its heartbeat is %d s", silent_s, interval_s)
            self.abort()
        elif self._transport and not self.is_paused:
            if not self._has_written:
                self._transport.write(HEARTBEAT_FRAME)
            self._has_written = False

    def close_socket(self) -> None:
        """Close the socket once what is queued is out."""
        if self._transport:
            self.runtime.flush_now(self.flush)
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Cut the socket at once."""
        if self._transport:
            self._transport.abort()

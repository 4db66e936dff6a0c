"""HTTP/1.1 for clients that take their time: a connection on which no request arrives is closed.

What an answer is made of leaves in one piece; and an application can ask whether its client is still there.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: seconds for the line and the headers of a request, from the connection or its first byte on.
HEAD_S = 15.0
#: bytes of an answer that are kept back for what follows; more is sent at once.
JOINED_BYTES = 64 << 10
#: name of the connection in the state of each request; see `PatientProtocol.is_open`.
CONNECTION = "connection"
#: what the system says of a connection that nobody reads any more.
_GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class JoinedWrites:
    """A transport that keeps what is written until the answer is complete, or the event loop goes on.

    The library writes the head of an answer and its body apart, which would be two packets.

    Args:
        transport: of the connection.
        loop: runs it.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._pieces: list[bytes] = []
        self._kept_bytes = 0

    def write(self, data: bytes) -> None:
        """Keep it, or send it with what was kept when that is much."""
        if not data:
            return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was kept."""
        if self._pieces:
            pieces, self._pieces, self._kept_bytes = self._pieces, [], 0
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        """Send what was kept, and close."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class PatientProtocol(H11Protocol):
    """Uvicorn's protocol, with a limit for what it waits for without one.

    That is the head of a request, and the rest of a body after the answer.

    Args:
        head_s: seconds for either.
        base: what the base is made with.
    """

    def __init__(self, *, head_s: float = HEAD_S, **base: Any) -> None:
        super().__init__(**base)
        self._head_s = head_s
        self._head_task: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base has it
        """Begin to wait for the first request.

        A long answer goes out in several pieces. The event loop lets the second one go at once only on
        sockets that name their protocol, which those of a listener made elsewhere do not: it would wait for
        40 ms.
        """
        self._joined = JoinedWrites(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._joined))
        self.app_state = {**self.app_state, CONNECTION: self}
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Take what came; the wait ends with the whole head."""
        super().data_received(data)
        if not self._is_waiting():
            self._disarm()
        elif self._head_task is None and self.timeout_keep_alive_task is None:
            self._arm()

    def on_response_complete(self) -> None:
        """Send the answer, then go on."""
        self._joined.flush()
        super().on_response_complete()

    def is_open(self) -> bool:
        """Tell whether the client is there, as far as the system knows. The event loop's thread.

        A client that has ended its side counts as gone: it reads no answer.
        """
        if self.transport.is_closing():
            return False
        looked = select.poll()
        looked.register(self.transport.get_extra_info("socket").fileno(), _GONE)
        return not looked.poll(0)

    def _is_waiting(self) -> bool:
        """Tell whether the client is to send a head, or the rest of a body that was answered already."""
        is_unread = self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
        return is_unread or self.conn.their_state is h11.IDLE

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._head_task = self.loop.call_later(self._head_s, self._give_up)

    def _disarm(self) -> None:
        if self._head_task is not None:
            self._head_task.cancel()
            self._head_task = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

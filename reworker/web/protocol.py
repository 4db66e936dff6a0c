"""HTTP/1.1 for clients that take their time: a connection on which no request arrives is closed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: seconds for the line and the headers of a request, from the connection or its first byte on.
HEAD_S = 15.0


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

        An answer goes out in two pieces. The event loop lets the second one go at once only on sockets that
        name their protocol, which those of a listener made elsewhere do not: it would wait for 40 ms.
        """
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Take what came; the wait ends with the whole head."""
        super().data_received(data)
        if not self._is_waiting():
            self._disarm()
        elif self._head_task is None and self.timeout_keep_alive_task is None:
            self._arm()

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

"""The channel that everything is published on: its life, its confirms and returns; only on the I/O thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from reworker.bus import frames
from reworker.bus.contract import Outcome, Published
from reworker.bus.publisher import FOREIGN_SENDER, NOT_FOUND, Publisher
from reworker.bus.transport import WireConnection
from reworker.clock import Clock

logger = logging.getLogger(__name__)

#: number of the publishing channel; fixed, so that frames can be encoded before they are written.
CHANNEL_NUMBER = 1
#: bytes of unwritten output over which publishes wait: more would only be lost with the connection.
UNWRITTEN_LIMIT_BYTES = 8 << 20
#: what to do when we name another sender than the broker takes us for.
SENDER_HINT = "; give `stamp_user` of the message bus the name by which the broker knows this login"


class PublishChannel:
    """Writes what the `Publisher` has waiting, while the channel is ready and the broker not blocked.

    Args:
        on_missing: called when an exchange is gone, with what to do once it is declared again.
    """

    def __init__(
        self, publisher: Publisher, clock: Clock, on_missing: Callable[[Callable[[], object]], object]
    ) -> None:
        self.is_blocked = False
        self._publisher, self._clock, self._on_missing = publisher, clock, on_missing
        self._connection: WireConnection | None = None
        self._is_ready = False

    def on_up(self, connection: WireConnection) -> None:
        """Open the channel on a new connection."""
        self._connection = connection
        self.is_blocked = False
        connection.reader.on_confirm = self._publisher.confirm
        self._open()

    def on_down(self) -> None:
        """Sort out what was on the wire: the connection is lost."""
        self._connection, self._is_ready, self.is_blocked = None, False, False
        self._publisher.connection_lost()

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open:
            channel = self._connection.channel(CHANNEL_NUMBER, on_open_callback=self._on_open)
            channel.add_on_close_callback(self._on_closed)

    def _on_open(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        # Confirms themselves come by `FrameReader.on_confirm`, set before the first publish.
        channel.confirm_delivery(_never_called, callback=self._on_confirm_mode)

    def _on_confirm_mode(self, _frame: Any) -> None:
        if self._connection is not None:
            self._connection.reader.confirm_channel = CHANNEL_NUMBER
            self._is_ready = True
            self.pump()

    def pump(self) -> None:
        """Write everything that may be written now."""
        connection = self._connection
        if not self._is_ready or self.is_blocked or connection is None:
            return
        if connection.unwritten_bytes > UNWRITTEN_LIMIT_BYTES:
            return
        pieces: list[bytes] = []
        for pending in self._publisher.take(self._clock.mono_s()):
            pieces.append(pending.frames)
            if pending.rest:
                pieces.append(frames.body_frames(CHANNEL_NUMBER, pending.rest, connection.frame_max_bytes))
        if pieces:
            connection.write_raw(b"".join(pieces))

    def _on_return(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        result = Published(Outcome.RETURNED, reply_code=method.reply_code, reason=method.reply_text)
        self._publisher.returned(method.exchange, method.routing_key, properties.message_id, body, result)

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        self._is_ready = False
        if self._connection is None or not isinstance(reason, ChannelClosedByBroker):
            return
        hint = SENDER_HINT if FOREIGN_SENDER in reason.reply_text else ""
        text = "the broker closed the publishing channel: %s; it is opened again%s"
        logger.warning(text, reason.reply_text, hint)
        self._connection.reader.confirm_channel = 0
        self._publisher.channel_closed(reason.reply_code, reason.reply_text)
        is_missing = reason.reply_code == NOT_FOUND
        # pika forgets the channel only after this callback; until then its number is taken.
        self._connection.ioloop.call_later(0, self._reopen_after_repair if is_missing else self._open)

    def _reopen_after_repair(self) -> None:
        self._on_missing(self._open)


def _never_called(_frame: Any) -> None:
    raise AssertionError("a confirm took the long way round")

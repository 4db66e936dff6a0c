"""One client: its handshake, its channels, and what becomes of both when it goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from reworker.broker import basic_methods, codec, topology_methods
from reworker.broker.channel import Channel
from reworker.broker.codec import spec
from reworker.broker.errors import BrokerError
from reworker.broker.handshake import Handshake
from reworker.broker.ledger import ack
from reworker.broker.model import Timer
from reworker.broker.runtime import LoopRuntime
from reworker.broker.settings import Settings
from reworker.broker.vhost import VHost
from reworker.broker.wire import Wire

log = logging.getLogger(__name__)

#: seconds a client has to open its connection. Source: RabbitMQ, handshake_timeout.
HANDSHAKE_TIMEOUT_S = 10.0
#: seconds a client has to answer connection.close.
CLOSE_TIMEOUT_S = 3.0

HANDLERS = topology_methods.HANDLERS | basic_methods.HANDLERS


class Hub(Protocol):
    """What a connection asks of its broker."""

    settings: Settings
    is_paused: bool

    def find_vhost(self, name: str) -> VHost:
        """Return a vhost; raises 530."""
        ...

    def joined(self, connection: Connection) -> None:
        """Note a new connection."""
        ...

    def left(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        ...

    def blocked_reason(self) -> str:
        """Return why publishers must wait; empty when they need not."""
        ...


class Connection(Wire):
    """One client: its handshake, its channels, and what happens to both when it goes."""

    def __init__(self, hub: Hub, runtime: LoopRuntime) -> None:
        super().__init__(runtime)
        self._hub = hub
        self._handshake = Handshake(hub.settings, hub.find_vhost)
        self.channels: dict[int, Channel] = {}
        self.frame_max = hub.settings.frame_max
        self.user = ""
        self._parse: Callable[[bytes], bytes] = self._parse_header
        self._rest = b""
        self._vhost: VHost | None = None
        self._closing_channels: set[int] = set()
        self._publishing: dict[int, Channel] = {}
        self._is_closing = self._is_released = False
        self._deadline: Timer | None = None
        self._beat: Timer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the protocol header."""
        self.is_paused = self._hub.is_paused
        super().connection_made(transport)
        self._deadline = self.runtime.call_later(HANDSHAKE_TIMEOUT_S, self.abort)
        self._hub.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back everything the client held."""
        super().connection_lost(exc)
        self._is_closing = True
        for timer in (self._deadline, self._beat):
            if timer:
                timer.cancel()
        self._release()
        self._hub.left(self)
        self.runtime.beat_soon()

    # Frames in

    def _take(self, data: bytes) -> None:
        """Handle the whole frames that arrived and keep the rest."""
        try:
            self._rest = self._parse(self._rest + data if self._rest else data)
        except BrokerError as error:
            # where the next frame begins is not known any more
            self._rest, self._parse = b"", self._parse_last_words
            self._fail(error)

    def _parse_header(self, data: bytes) -> bytes:
        if len(data) < 8 and codec.PROTOCOL_HEADER.startswith(data):
            return data
        if data[:8] != codec.PROTOCOL_HEADER:
            self.send(codec.PROTOCOL_HEADER)
            self._is_closing = True
            self.close_socket()
            return b""
        self._parse = self._parse_frames
        self.send(codec.encode_method(0, self._handshake.start()))
        return self._parse_frames(data[8:])

    def _parse_frames(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        unpack = codec.FRAME_START.unpack_from
        while end - at >= 7:
            kind, number, size = unpack(data, at)
            stop = at + 7 + size
            # as generous as RabbitMQ: not all clients count the bytes around a payload
            if size > self.frame_max > 0:
                raise BrokerError(501, f"type {kind}: frame_too_large, {size} > {self.frame_max}")
            if stop >= end:
                break
            if data[stop] != codec.FRAME_END:
                raise BrokerError(501, f"type {kind}: frame end is {data[stop]}, not {codec.FRAME_END}")
            try:
                self._on_frame(kind, number, data[at + 7 : stop])
            except BrokerError as error:
                self._fail(error)
            except Exception:
                log.exception("a frame could not be handled; closing the connection")
                self._fail(BrokerError(541, "the broker failed; see its log"))
            at = stop + 1
        return data[at:] if at else data

    def _parse_last_words(self, data: bytes) -> bytes:
        if data.endswith(codec.CLOSE_OK_FRAME):
            self.close_socket()
        return b""

    def _on_frame(self, kind: int, number: int, payload: bytes) -> None:
        if kind == codec.HEARTBEAT and number == 0:
            return
        if kind not in (codec.METHOD, codec.HEADER, codec.BODY):
            raise BrokerError(
                501 if kind != codec.HEARTBEAT else 505, f"unexpected frame type {kind} on channel {number}"
            )
        if number == 0 or self._is_closing or self._vhost is None:
            self._on_connection_frame(kind, number, payload)
            return
        channel = self.channels.get(number)
        if channel is None:
            self._on_unopened(number, kind, payload)
            return
        try:
            self._on_channel_frame(channel, kind, payload)
        except BrokerError as error:
            error.method_id = error.method_id or channel.method_id
            if not error.is_soft:
                raise
            self._close_channel(channel, error)

    def _on_channel_frame(self, channel: Channel, kind: int, payload: bytes) -> None:
        intake = channel.intake
        if kind != codec.METHOD:
            publish = intake.header(payload) if kind == codec.HEADER else intake.body(payload)
            if publish:
                channel.publish(publish)
            return
        if intake.is_busy:
            raise BrokerError(505, "expected content frame, got method frame instead")
        channel.method_id = codec.method_id(payload)
        head = payload[:4]
        if head == codec.PUBLISH:
            intake.begin(payload)
        elif head == codec.ACK:
            tag, multiple = codec.decode_ack(payload)
            channel.ledger.settle(tag, ack, multiple=multiple)
        else:
            self._on_channel_method(channel, codec.decode_method(payload))

    def _on_channel_method(self, channel: Channel, method: Any) -> None:
        handler = HANDLERS.get(method.INDEX)
        if handler is not None:
            handler(channel, method)
        elif method.INDEX == spec.Channel.Close.INDEX:
            self._drop_channel(channel)
            self.send(codec.encode_method(channel.number, spec.Channel.CloseOk()))
        elif method.INDEX == spec.Channel.Open.INDEX:
            raise BrokerError(504, "second 'channel.open' seen", method.INDEX)
        elif method.INDEX == spec.Access.Request.INDEX:
            raise BrokerError(540, "access.request is not part of this broker", method.INDEX)
        else:
            raise BrokerError(503, f"unexpected method {method.NAME}", method.INDEX)

    def _on_unopened(self, number: int, kind: int, payload: bytes) -> None:
        index = codec.method_id(payload) if kind == codec.METHOD else 0
        if number in self._closing_channels:
            if index == spec.Channel.CloseOk.INDEX:
                self._closing_channels.discard(number)
            if index == spec.Channel.Close.INDEX:
                self.send(codec.encode_method(number, spec.Channel.CloseOk()))
            return
        if index != spec.Channel.Open.INDEX:
            raise BrokerError(504, "expected 'channel.open'", index)
        limit = self._handshake.channel_max
        if limit and len(self.channels) >= limit:
            raise BrokerError(
                530,
                f"number of channels opened ({len(self.channels)}) "
                f"has reached the negotiated channel_max ({limit})",
                index,
            )
        self.channels[number] = Channel(number, self, cast(VHost, self._vhost))
        self.send(codec.encode_method(number, spec.Channel.OpenOk()))

    # Connection methods

    def _on_connection_frame(self, kind: int, number: int, payload: bytes) -> None:
        if self._is_closing:
            if kind == codec.METHOD and number == 0:
                self._on_last_words(codec.method_id(payload))
            return
        if number != 0:
            raise BrokerError(504, "the connection is not open yet")
        if kind != codec.METHOD:
            raise BrokerError(505, "expected a method frame on channel 0")
        method = codec.decode_method(payload)
        try:
            self._on_connection_method(method)
        except BrokerError as error:
            error.method_id = error.method_id or method.INDEX
            raise

    def _on_last_words(self, index: int) -> None:
        if index == spec.Connection.Close.INDEX:
            self.send(codec.encode_method(0, spec.Connection.CloseOk()))
        elif index == spec.Connection.CloseOk.INDEX:
            self.close_socket()

    def _on_connection_method(self, method: Any) -> None:
        if method.INDEX == spec.Connection.Close.INDEX:
            self._release()
            self._is_closing = True
            self.send(codec.encode_method(0, spec.Connection.CloseOk()))
            self.close_socket()
        elif self._vhost is None:
            self._open(method)
        elif method.INDEX == spec.Connection.UpdateSecret.INDEX:
            self.send(codec.encode_method(0, spec.Connection.UpdateSecretOk()))
        else:
            raise BrokerError(503, f"unexpected method {method.NAME} on channel 0")

    def _open(self, method: Any) -> None:
        shake = self._handshake
        answer = shake.take(method)
        if answer is not None:
            self.send(codec.encode_method(0, answer))
        self.frame_max, self.user = shake.frame_max, shake.user
        self._vhost = shake.vhost
        if method.INDEX == spec.Connection.TuneOk.INDEX and shake.heartbeat_s:
            self._beat = self.runtime.call_later(shake.heartbeat_s / 2, self._on_beat)
        if self._vhost and self._deadline:
            self._deadline.cancel()

    # Closing

    def _close_channel(self, channel: Channel, error: BrokerError) -> None:
        log.debug("closing channel %d: %s", channel.number, error)
        self._drop_channel(channel)
        self._closing_channels.add(channel.number)
        index = error.method_id
        close = spec.Channel.Close(error.code, error.reply_text[:255], index >> 16, index & 0xFFFF)
        self.send(codec.encode_method(channel.number, close))

    def _drop_channel(self, channel: Channel) -> None:
        self.channels.pop(channel.number, None)
        self.send(channel.confirms.flush())
        self._publishing.pop(channel.number, None)
        channel.close()

    def _fail(self, error: BrokerError) -> None:
        """Close the connection because of its client's fault."""
        if self._is_closing:
            self.abort()
            return
        log.info("closing a connection: %s", error)
        if (
            self._vhost is None
            and error.code == 403
            and not self.has_capability("authentication_failure_close")
        ):
            self._is_closing = True
            self.close_socket()
        else:
            self.close(error)

    def close(self, error: BrokerError) -> None:
        """Say goodbye with a reason and give everything back; a client that does not answer is cut."""
        if self._is_closing:
            return
        self._is_closing = True
        self._release()
        index = error.method_id
        close = spec.Connection.Close(error.code, error.reply_text[:255], index >> 16, index & 0xFFFF)
        self.send(codec.encode_method(0, close))
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.runtime.call_later(CLOSE_TIMEOUT_S, self.abort)

    def _release(self) -> None:
        """Give back what the client held: consumers, then unacknowledged messages, then exclusive queues."""
        if self._is_released:
            return
        self._is_released = True
        channels = list(self.channels.values())
        self.channels.clear()
        for channel in channels:
            channel.cancel_all()
        for channel in channels:
            self.send(channel.confirms.flush())
            channel.close()
        if self._vhost:
            for queue in [queue for queue in self._vhost.queues.values() if queue.owner is self]:
                self._vhost.delete_queue(queue)

    def close_socket(self) -> None:
        """Close the socket once what is queued is out."""
        if self._transport:
            self.flush()
            self._transport.close()

    # What channels ask for

    def _last_words(self) -> bytes:
        """Return the confirms that are due: behind the deliveries and returns they belong to."""
        publishing, self._publishing = self._publishing, {}
        return b"".join([channel.confirms.flush() for channel in publishing.values()])

    def _on_room(self) -> None:
        """Let parked consumers go on."""
        for channel in list(self.channels.values()):
            channel.wake()

    def has_capability(self, name: str) -> bool:
        """Tell whether the client said that it can do this."""
        return bool(self._handshake.capabilities.get(name))

    def published(self, channel: Channel) -> None:
        """Note a publish: its confirm is due, and with a full backlog its client has to wait."""
        if not self._publishing:
            self.runtime.schedule(self.flush)
        self._publishing[channel.number] = channel
        reason = self._hub.blocked_reason()
        if reason and not self.is_throttled:
            if self.has_capability("connection.blocked"):
                self.send(codec.encode_method(0, spec.Connection.Blocked(reason)))
            self.throttle(True)

    def unblock(self) -> None:
        """Let a throttled client publish again."""
        if self.is_throttled:
            if self.has_capability("connection.blocked"):
                self.send(codec.encode_method(0, spec.Connection.Unblocked()))
            self.throttle(False)

    def _on_beat(self) -> None:
        interval_s = self._handshake.heartbeat_s
        self._beat = self.runtime.call_later(interval_s / 2, self._on_beat)
        self._beat_once(interval_s)

"""Asking and changing a broker step by step, for the command line: a connection of its own that blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Any

import msgspec
import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

from reworker.bus.contract import BindingSpec, ExchangeSpec, QueueSpec
from reworker.bus.link import reason_of
from reworker.bus.parameters import connection_parameters, masked_urls, quiet_pika
from reworker.config import MqSettings
from reworker.errors import CannotConnect

NOT_IMPLEMENTED = 540


class Answer(msgspec.Struct, frozen=True):
    """What the broker said to one request.

    Args:
        reply_code: AMQP reply code of a refusal; 0 is success.
        text: of the refusal.
        message_count: messages ready in a queue, when it was asked for.
        consumer_count: its consumers.
    """

    reply_code: int = 0
    text: str = ""
    message_count: int = 0
    consumer_count: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether it was done."""
        return self.reply_code == 0


class Administration:
    """A connection on which each request is answered by itself: a refusal spoils nothing for the next.

    Threads: for one. End of life: at the end of its ``with`` block.

    Args:
        settings: where the broker is and who we are.
        name: of the connection, as the broker shows it.
    """

    def __init__(self, settings: MqSettings, name: str) -> None:
        self._settings, self._name = settings, name
        self._connection: Any = None
        self._channel: Any = None

    def __enter__(self) -> Administration:
        """Connect.

        Raises:
            CannotConnect: nobody answers, or the login is refused.
        """
        quiet_pika()
        self._connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(AMQPError, OSError):
            self._connection.close()

    @property
    def cluster_name(self) -> str:
        """Name of the broker's cluster, as it introduced itself; empty when it has none."""
        properties = self._connection._impl.server_properties or {}
        return str(properties.get("cluster_name", ""))

    def find_exchange(self, name: str) -> Answer:
        """Ask whether there is such an exchange; 404 says no."""
        return self._ask(lambda channel: channel.exchange_declare(name, passive=True))

    def find_queue(self, name: str) -> Answer:
        """Ask whether there is such a queue; 404 says no, 405 that it belongs to another connection."""
        return self._ask(lambda channel: channel.queue_declare(name, passive=True))

    def declare_exchange(self, spec: ExchangeSpec) -> Answer:
        """Make an exchange, or learn what is different about it (406)."""
        return self._ask(lambda channel: channel.exchange_declare(spec.name, spec.kind, durable=spec.durable))

    def declare_queue(self, spec: QueueSpec) -> Answer:
        """Make a queue, or learn what is different about it (406)."""
        return self._ask(
            lambda channel: channel.queue_declare(
                spec.name,
                durable=spec.durable,
                exclusive=spec.exclusive,
                auto_delete=spec.auto_delete,
                arguments=dict(spec.arguments),
            )
        )

    def bind(self, spec: BindingSpec) -> Answer:
        """Bind; 404 when one of the two is missing. A second time changes nothing."""
        return self._ask(lambda channel: channel.queue_bind(spec.queue, spec.exchange, spec.routing_key))

    def unbind(self, spec: BindingSpec) -> Answer:
        """Take a binding away. One that is not there is no error."""
        return self._ask(lambda channel: channel.queue_unbind(spec.queue, spec.exchange, spec.routing_key))

    def delete_exchange(self, name: str, *, is_forced: bool) -> Answer:
        """Delete an exchange; unless forced, only one without bindings, which the broker checks (406)."""
        return self._ask(lambda channel: channel.exchange_delete(name, if_unused=not is_forced))

    def delete_queue(self, name: str, *, is_forced: bool) -> Answer:
        """Delete a queue; unless forced, only one without messages and consumers (406).

        The broker checks that in the same moment. It cannot for a quorum queue: there we ask just before.
        """
        if is_forced:
            return self._ask(lambda channel: channel.queue_delete(name))
        answer = self._ask(lambda channel: channel.queue_delete(name, if_unused=True, if_empty=True))
        if answer.reply_code != NOT_IMPLEMENTED:
            return answer
        found = self.find_queue(name)
        if not found.is_ok:
            return found
        if found.message_count or found.consumer_count:
            text = f"queue '{name}' has {found.message_count} messages and {found.consumer_count} consumers"
            return Answer(406, text, found.message_count, found.consumer_count)
        return self._ask(lambda channel: channel.queue_delete(name))

    def _ask(self, request: Callable[[Any], Any]) -> Answer:
        """Send one request, on the connection's channel or a new one."""
        try:
            if self._connection is None or not self._connection.is_open:
                self._connect()
            if self._channel is None or not self._channel.is_open:
                self._channel = self._connection.channel()
            method = request(self._channel).method
        except (ChannelClosedByBroker, ConnectionClosedByBroker) as error:
            return Answer(error.reply_code, error.reply_text)
        except (AMQPError, OSError) as error:
            raise self._lost(error) from error
        return Answer(
            message_count=getattr(method, "message_count", 0) or 0,
            consumer_count=getattr(method, "consumer_count", 0) or 0,
        )

    def _connect(self) -> None:
        try:
            self._channel = None
            self._connection = pika.BlockingConnection(connection_parameters(self._settings, self._name))
        except (AMQPError, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> CannotConnect:
        return CannotConnect(masked_urls(self._settings), reason_of(error), 1)

"""A plain pika client for the broker's contract tests, and names that no other test uses."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker, ConnectionClosedByBroker

from tests.support.waiting import wait_until

#: seconds to wait for something that has to happen.
PATIENCE_S = 30.0
#: the brokers that every contract test runs on.
BROKERS = ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)]


def broker_address(request: pytest.FixtureRequest) -> str:
    """Return the URL of the broker of this parameter; RabbitMQ's one vhost is shared, to save time."""
    if request.param == "embedded":
        return str(request.getfixturevalue("broker_url"))
    elsewhere = os.environ.get("REWORKER_TEST_URL")
    if elsewhere:
        return elsewhere.replace("{vhost}", f"test-{uuid.uuid4().hex[:12]}")
    return str(request.getfixturevalue("rabbitmq").url("/"))


def peers(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """Yield a client of the broker of this parameter, for a fixture."""
    one = Peer(broker_address(request))
    yield one
    one.close()


class Got(NamedTuple):
    """A message as a client sees it."""

    body: bytes
    method: Any
    props: pika.BasicProperties


class Peer:
    """One connection with one channel; queues and exchanges it made are deleted by `close`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[tuple[str, str]] = []
        self._others: list[Peer] = []
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel: BlockingChannel = self.connection.channel()
        self.got: list[Got] = []
        self.cancelled: list[str] = []
        self.returned: list[Got] = []

    def another(self) -> Peer:
        """Open a second connection; it is closed with this one."""
        other = Peer(self.url)
        self._others.append(other)
        return other

    def reopen(self) -> BlockingChannel:
        """Open a new channel in place of one that the broker closed."""
        self.channel = self.connection.channel()
        return self.channel

    def name(self, kind: str = "queue") -> str:
        """Return a name that no other test uses; it is deleted in the end."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        self._made.append((kind, name))
        return name

    def queue(self, arguments: dict[str, Any] | None = None, **flags: Any) -> str:
        """Declare a queue and return its name."""
        name = self.name()
        self.channel.queue_declare(name, arguments=arguments, **flags)
        return name

    def exchange(self, kind: str, arguments: dict[str, Any] | None = None, **flags: Any) -> str:
        """Declare an exchange and return its name."""
        name = self.name("exchange")
        self.channel.exchange_declare(name, kind, arguments=arguments, **flags)
        return name

    def bound(self, exchange: str, key: str = "", arguments: dict[str, Any] | None = None) -> str:
        """Declare a queue, bind it and return its name."""
        name = self.queue()
        self.channel.queue_bind(name, exchange, key, arguments)
        return name

    def publish(self, queue: str, body: bytes = b"x", *, exchange: str = "", **props: Any) -> None:
        """Publish without confirm; with the default exchange `queue` is the queue's name."""
        self.channel.basic_publish(exchange, queue, body, pika.BasicProperties(**props))

    def depth(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return int(self.channel.queue_declare(queue, passive=True).method.message_count)

    def exists(self, queue: str) -> bool:
        """Tell whether a queue is there, without using it: a bind does not put off its expiry."""
        try:
            self.channel.queue_bind(queue, "amq.direct", "t-exists")
        except ChannelClosedByBroker:
            self.reopen()
            return False
        return True

    def wait_depth(self, queue: str, count: int) -> None:
        """Wait until as many messages wait in a queue."""
        wait_until(lambda: self.depth(queue) == count, PATIENCE_S, f"{count} messages in {queue}")

    def get(self, queue: str, *, auto_ack: bool = True) -> Got | None:
        """Take a message if one is there."""
        method, props, body = self.channel.basic_get(queue, auto_ack=auto_ack)
        return None if method is None else Got(body, method, props)

    def take(self, queue: str, *, auto_ack: bool = True) -> Got:
        """Take a message, waiting for it."""
        return wait_until(lambda: self.get(queue, auto_ack=auto_ack), PATIENCE_S, f"a message in {queue}")

    def drain(self, queue: str) -> list[bytes]:
        """Take everything and return the bodies."""
        bodies: list[bytes] = []
        while (one := self.get(queue)) is not None:
            bodies.append(one.body)
        return bodies

    def consume(self, queue: str, **options: Any) -> str:
        """Consume into `got`; returns the consumer tag."""

        def on_message(_: BlockingChannel, method: Any, props: pika.BasicProperties, body: bytes) -> None:
            self.got.append(Got(body, method, props))

        self.channel.add_on_cancel_callback(lambda frame: self.cancelled.append(frame.method.consumer_tag))
        return str(self.channel.basic_consume(queue, on_message, **options))

    def wait(self, predicate: Callable[[], Any], what: str = "") -> None:
        """Handle what arrives until the predicate is true."""

        def step() -> Any:
            self.connection.process_data_events(0.01)
            return predicate()

        wait_until(step, PATIENCE_S, what)

    def wait_got(self, count: int) -> list[bytes]:
        """Wait for as many deliveries and return their bodies."""
        self.wait(lambda: len(self.got) >= count, f"{count} deliveries, has {len(self.got)}")
        return self.bodies()

    def bodies(self) -> list[bytes]:
        """Return the bodies that were delivered so far."""
        return [one.body for one in self.got]

    def settle_down(self) -> None:
        """Let everything arrive that the broker has sent: a round trip, twice for other queues' sake."""
        for _ in range(2):
            self.channel.basic_qos()
            self.connection.process_data_events(0.05)

    def refused(self, call: Callable[[BlockingChannel], Any]) -> tuple[int, str]:
        """Make a call that must close the channel and return its code and text; opens a new one."""
        with pytest.raises(ChannelClosedByBroker) as caught:
            self._round_trip(call)
        self.reopen()
        return caught.value.reply_code, caught.value.reply_text

    def cut(self, call: Callable[[BlockingChannel], Any]) -> int:
        """Make a call that must close the connection and return the reply's code."""
        with pytest.raises(ConnectionClosedByBroker) as caught:
            self._round_trip(call)
        return int(caught.value.reply_code)

    def _round_trip(self, call: Callable[[BlockingChannel], Any]) -> None:
        call(self.channel)
        self.channel.queue_declare(f"t-{uuid.uuid4().hex}", exclusive=True)

    def abandon(self) -> None:
        """Close the connection, whatever became of the broker."""
        with contextlib.suppress(AMQPError):
            self.connection.close()

    def close(self) -> None:
        """Delete what was made and close all connections."""
        for other in self._others:
            other.close()
        if not self.connection.is_open:
            self.connection = pika.BlockingConnection(pika.URLParameters(self.url))
        self.reopen()
        for kind, name in self._made:
            try:
                (self.channel.queue_delete if kind == "queue" else self.channel.exchange_delete)(name)
            except ChannelClosedByBroker:
                self.reopen()
        self.connection.close()

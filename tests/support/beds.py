"""Test beds: a broker of each kind with buses on it, and the faults a test may ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pika

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    BindingSpec,
    Bus,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
)
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.config import mq_settings
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

#: seconds for a broker on the same machine to do anything, on a busy day.
PATIENCE_S = 20.0

EXCHANGE, DEAD_EXCHANGE, QUEUE, DEAD_QUEUE = "bed", "bed.dead", "bed.work", "bed.dead"
TOPOLOGY = TopologySpec(
    exchanges=(ExchangeSpec(EXCHANGE), ExchangeSpec(DEAD_EXCHANGE, kind="fanout")),
    queues=(
        QueueSpec(QUEUE, arguments={"x-dead-letter-exchange": DEAD_EXCHANGE}),
        QueueSpec(DEAD_QUEUE),
    ),
    bindings=(BindingSpec(EXCHANGE, QUEUE, "work.*"), BindingSpec(DEAD_EXCHANGE, DEAD_QUEUE, "")),
)


def outgoing(body: bytes = b"{}", key: str = "work.a", **options: Any) -> Outgoing:
    """Return a persistent message that `TOPOLOGY` routes to `QUEUE`."""
    exchange = options.pop("exchange", EXCHANGE)
    may_resend = options.pop("may_resend", True)
    return Outgoing(exchange, key, body, Properties(delivery_mode=2, **options), may_resend)


class Bed(Protocol):
    """A broker of some kind."""

    def new_bus(self, name: str = "test") -> Bus:
        """Return a bus that is not open; it is closed with the bed."""
        ...

    def cut(self) -> None:
        """Lose all connections; they can come back at once."""
        ...

    def stop(self) -> None:
        """Lose all connections and let none come back."""
        ...

    def start(self) -> None:
        """End `stop`."""
        ...

    def silence(self) -> None:
        """Keep what the broker says from reaching us: confirms do not arrive."""
        ...

    def end_silence(self) -> None:
        """End `silence`."""
        ...

    def block(self) -> None:
        """Have the broker say connection.blocked to publishers."""
        ...

    def unblock(self) -> None:
        """End `block`."""
        ...

    def delete_queue(self, name: str) -> None:
        """Delete a queue under its consumers."""
        ...

    def message_count(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        ...

    def close(self) -> None:
        """Close every bus and what the bed started."""
        ...


class MemoryBed:
    """Buses without a network."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self._buses: list[MemoryBus] = []
        self.cut, self.stop, self.start = self.broker.drop_connections, self.broker.stop, self.broker.start
        self.silence, self.block = self.broker.hold_confirms, self.broker.block
        self.delete_queue, self.message_count = self.broker.delete_queue, self.broker.message_count

    def new_bus(self, name: str = "test") -> MemoryBus:
        self._buses.append(MemoryBus(self.broker, name=name))
        return self._buses[-1]

    def end_silence(self) -> None:
        self.broker.hold_confirms(False)

    def unblock(self) -> None:
        self.broker.block(False)

    def close(self) -> None:
        for bus in self._buses:
            bus.close(deadline_s=0)


class NetworkBed:
    """Real sockets, through a proxy.

    Args:
        url: of a fresh virtual host.
        block: makes the broker block publishers.
        unblock: ends it.
    """

    def __init__(self, url: str, block: Callable[[], object], unblock: Callable[[], object]) -> None:
        self.url = url
        self.proxy = Proxy.for_url(url)
        self._block, self._unblock = block, unblock
        self._is_blocked = False
        self._buses: list[PikaBus] = []

    def new_bus(self, name: str = "test") -> PikaBus:
        # no jitter: the shortest pause there is
        bus = PikaBus(mq_settings(self.proxy.url(self.url)), name=name, rand=lambda: 0.0)
        self._buses.append(bus)
        return bus

    def cut(self) -> None:
        self.proxy.cut()

    def stop(self) -> None:
        self.proxy.refuse()
        self.proxy.cut()

    def start(self) -> None:
        self.proxy.accept()

    def silence(self) -> None:
        self.proxy.freeze(up=False)

    def end_silence(self) -> None:
        self.proxy.thaw()

    def block(self) -> None:
        self._is_blocked = True
        self._block()

    def unblock(self) -> None:
        self._is_blocked = False
        self._unblock()

    def delete_queue(self, name: str) -> None:
        with self.channel() as channel:
            channel.queue_delete(name)

    def message_count(self, queue: str) -> int:
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """Give a channel of a connection that does not go through the proxy."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            connection.close()

    def close(self) -> None:
        if self._is_blocked:
            self.unblock()
        self.proxy.thaw()
        for bus in self._buses:
            bus.close(deadline_s=0)
        self.proxy.close()


class Inbox:
    """Collects deliveries; settles nothing."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.threads: set[threading.Thread] = set()

    def __call__(self, delivery: Delivery) -> None:
        self.threads.add(threading.current_thread())
        self.deliveries.append(delivery)

    @property
    def bodies(self) -> list[bytes]:
        """Bodies in order of delivery."""
        return [delivery.body for delivery in list(self.deliveries)]

    def wait_for(self, count: int) -> list[Delivery]:
        """Return the deliveries once there are at least so many."""
        wait_until(lambda: len(self.deliveries) >= count, PATIENCE_S, f"{count} deliveries")
        return list(self.deliveries)


class Outcomes:
    """Collects the outcomes of publishes."""

    def __init__(self) -> None:
        self.results: list[Published] = []

    def __call__(self, result: Published) -> None:
        self.results.append(result)

    def wait_for(self, count: int = 1) -> list[Published]:
        """Return the outcomes once there are at least so many."""
        wait_until(lambda: len(self.results) >= count, PATIENCE_S, f"{count} outcomes")
        return list(self.results)


def publish_all(bus: Bus, bodies: Iterable[bytes]) -> Outcomes:
    """Publish bodies in order; return where the outcomes arrive."""
    outcomes = Outcomes()
    for body in bodies:
        bus.publish(outgoing(body), outcomes)
    return outcomes


def wait_connected(bus: Bus, reconnect_count: int) -> None:
    """Wait until the bus has come back at least so many times."""
    wait_until(
        lambda: bus.health().is_connected and bus.health().reconnect_count >= reconnect_count,
        PATIENCE_S,
        f"reconnection number {reconnect_count}",
    )


def wait_consuming(bus: Bus) -> None:
    """Wait until every consumer that should be there is."""

    def is_consuming() -> bool:
        health = bus.health()
        return health.is_connected and health.active_consumer_count == health.wanted_consumer_count

    wait_until(is_consuming, PATIENCE_S, "all consumers to be active")


def consuming(bus: Bus, prefetch: int = 100) -> Inbox:
    """Consume `QUEUE`, and return the inbox once the consumer is active."""
    inbox = Inbox()
    bus.consume(QUEUE, inbox, prefetch=prefetch)
    wait_consuming(bus)
    return inbox

"""What every bus can do, whatever carries it: the contract that workers and the core are written against.

A bus owns one I/O thread. Callbacks (`on_delivery`, `on_done`) run on that thread and must return at once;
all methods may be called from any thread.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, Protocol

import msgspec

from reworker.bus.consuming import Consumer as Consumer
from reworker.bus.consuming import Demand as Demand
from reworker.bus.consuming import OnDemandConsumer as OnDemandConsumer
from reworker.bus.properties import Envelope as Envelope
from reworker.bus.properties import FixedHeaders as FixedHeaders
from reworker.bus.properties import Properties as Properties
from reworker.bus.queue_state import OnFound
from reworker.bus.received import PropertiesView
from reworker.bus.rota import Rota
from reworker.errors import PublishNotConfirmed, Unroutable

#: seconds a publish may wait for its confirm, reconnections included, unless the caller says otherwise.
PUBLISH_DEADLINE_S = 30.0


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A message to publish, persistent and mandatory, with a confirm.

    Args:
        exchange: its name; empty is the default exchange, which routes by queue name.
        routing_key: routing key.
        body: encoded body.
        properties: AMQP properties.
        may_resend: whether it may be published again when the connection is lost before its confirm.
            False for a step that is not idempotent: its outcome is then `LOST`.
        envelope: what the properties were made with, if it was one.
    """

    exchange: str
    routing_key: str
    body: bytes
    properties: Properties
    may_resend: bool = True
    envelope: Envelope | None = None


class Outcome(enum.Enum):
    """How a publish ended."""

    CONFIRMED = "confirmed"
    #: no queue is bound for the routing key (basic.return), or the exchange does not exist.
    RETURNED = "returned"
    #: the broker refused it (basic.nack).
    REFUSED = "refused"
    #: its deadline passed; see `Published.is_sent`.
    TIMED_OUT = "timed out"
    #: the connection was lost after it was written, and it may not be sent again.
    LOST = "lost"


class Published(msgspec.Struct, frozen=True, gc=False):
    """Result of one publish.

    Args:
        outcome: how it ended.
        is_sent: whether its bytes had been handed to a connection, so that the broker may have it.
        reply_code: the broker's code with `RETURNED`, for example 312; else 0.
        reason: the broker's or our own words.
    """

    outcome: Outcome
    is_sent: bool = True
    reply_code: int = 0
    reason: str = ""


class Verdict(enum.Enum):
    """How a delivery is settled."""

    ACK = "ack"
    #: back to the queue.
    REQUEUE = "requeue"
    #: rejected without requeue: to the dead-letter exchange, if the queue has one.
    DEAD_LETTER = "dead letter"


class Delivery(Protocol):
    """One message as delivered to a consumer; settled exactly once."""

    body: bytes
    properties: PropertiesView
    exchange: str
    routing_key: str
    redelivered: bool
    consumer_tag: str
    delivery_tag: int
    queue: str

    @property
    def is_live(self) -> bool:
        """Whether it can still be settled: when the connection is lost, the broker gives it to others."""
        ...

    def settle(self, verdict: Verdict) -> None:
        """Acknowledge or reject this delivery; any thread, returns at once.

        After a reconnection the delivery is stale: nothing is sent, the broker redelivers it.

        Raises:
            AlreadySettled: called twice.

        Source: AMQP 0-9-1 basic.ack, basic.nack, basic.reject.
        """
        ...


class ExchangeSpec(msgspec.Struct, frozen=True):
    """An exchange to declare; `kind` is direct, topic, fanout or headers."""

    name: str
    kind: str = "topic"
    durable: bool = True


class QueueSpec(msgspec.Struct, frozen=True):
    """A queue to declare; `arguments` are AMQP queue arguments such as ``x-dead-letter-exchange``."""

    name: str
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)


class BindingSpec(msgspec.Struct, frozen=True):
    """A binding of a queue to an exchange."""

    exchange: str
    queue: str
    routing_key: str


class TopologySpec(msgspec.Struct, frozen=True):
    """Exchanges, queues and bindings, declared in this order."""

    exchanges: tuple[ExchangeSpec, ...] = ()
    queues: tuple[QueueSpec, ...] = ()
    bindings: tuple[BindingSpec, ...] = ()

    def is_of_queue(self, name: str) -> bool:
        """Tell whether all this is there for one queue, of this name."""
        return [one.name for one in self.queues] == [name]


class DeclareMode(enum.Enum):
    """What a start does with the topology."""

    #: create what is missing.
    DECLARE = "declare"
    #: only check that exchanges and queues exist (passive declare).
    VERIFY = "verify"
    #: leave it alone.
    OFF = "off"


class Health(msgspec.Struct, frozen=True):
    """State of a bus at one moment."""

    is_connected: bool
    #: the broker said connection.blocked: publishing waits.
    is_blocked: bool
    reconnect_count: int
    #: publishes without a confirm yet.
    unconfirmed_count: int
    #: consumers that should be there and are.
    active_consumer_count: int
    wanted_consumer_count: int
    #: last error in words; empty when there was none.
    last_error: str = ""
    #: why nothing arrives though the connection is up, in words; empty when that is not the case.
    deaf_reason: str = ""
    #: seconds for which the I/O thread has not got round to anything.
    lag_s: float = 0.0

    @property
    def is_deaf(self) -> bool:
        """Connected, but some consumer is not there, or the broker delivers nothing."""
        is_missing = self.active_consumer_count < self.wanted_consumer_count
        return self.is_connected and (is_missing or bool(self.deaf_reason))


class Bus(Protocol):
    """One connection to a broker, repaired for ever until closed."""

    @property
    def user_id(self) -> str:
        """Name of the sender that every message gets; empty is none."""
        ...

    def stamp(self) -> None:
        """Name our user as the sender of every message, whatever the settings say; before `open`."""
        ...

    def open(self, *, timeout_s: float) -> None:
        """Start the I/O thread and wait until connected.

        Args:
            timeout_s: how long to try before giving up.

        Raises:
            CannotConnect: not connected in time, or the login was refused.
        """
        ...

    def declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """Declare now and again after each reconnection; waits for the broker.

        Raises:
            TopologyMismatch: something exists with other arguments, or is missing with `VERIFY`.
            ConnectionLost: the connection went away meanwhile; it will be declared on return.
        """
        ...

    def delete(self, queue: str) -> bool:
        """Delete a queue without messages and consumers, and declare it no more; waits for the broker.

        Messages that somebody has taken and not settled do not count.

        Returns:
            whether it is gone; False when it has messages or consumers.

        Raises:
            TopologyMismatch: the broker refuses it for another reason.
            ConnectionLost: the connection went away meanwhile.
        """
        ...

    def look(self, queue: str, on_found: OnFound, *, deadline_s: float) -> None:
        """Ask how a queue stands (passive declare); returns at once, and disturbs no publish.

        `on_found` is called exactly once, on the I/O thread: with None when there is no connection, or no
        answer in time.
        """
        ...

    def consume(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        prefetch: int,
        longest_s: float | None = 0.0,
        every_s: float | None = None,
    ) -> Consumer:
        """Consume on a channel of its own; returns at once, see `Consumer.is_active`.

        Args:
            queue: name of an existing queue.
            on_delivery: called on the I/O thread for each delivery.
            prefetch: unsettled deliveries at most; 0 is without limit.
            longest_s: seconds that a delivery may stay unsettled, to be agreed with the broker; None is not
                known. What was agreed is `Consumer.ack_within_s`. 0 is settled at once.
            every_s: seconds after which to ask for one message, again and again; None has them pushed.
        """
        ...

    def consume_any(
        self, rota: Rota, on_delivery: Callable[[Delivery], None], *, longest_s: float | None = 0.0
    ) -> Consumer:
        """Take messages of many queues, one at a time; returns at once.

        The next one is asked for when the one before is settled. Of a queue that is not there nothing comes.

        Args:
            rota: says which queues may have a message; shared by the consumers of this bus.
            on_delivery: called on the I/O thread for each delivery.
            longest_s: see `consume`.
        """
        ...

    def consume_on_demand(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        demand: Demand,
        *,
        longest_s: float | None = 0.0,
    ) -> OnDemandConsumer:
        """Take messages only while somebody waits for them; returns at once.

        What comes too late for whoever waited is handed on all the same; it can be given back.

        Args:
            queue: name of an existing queue.
            on_delivery: called on the I/O thread for each delivery.
            demand: says how many are wanted; after a change `OnDemandConsumer.look` is to be called.
            longest_s: see `consume`.
        """
        ...

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """Queue a message for publishing; returns at once, in any state of the connection.

        Messages of one thread keep their order. `on_done` is called exactly once, on the I/O thread,
        also when the bus is closed first (`TIMED_OUT`).
        """
        ...

    def health(self) -> Health:
        """Return the present state; cheap."""
        ...

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Flush what is pending, close the connection and end the I/O thread. Safe twice."""
        ...


class Publisher(Protocol):
    """The part of a bus that publishes."""

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """See `Bus.publish`."""
        ...


def publish_and_tell(
    bus: Publisher, message: Outgoing, *, deadline_s: float = PUBLISH_DEADLINE_S
) -> Published:
    """Publish, wait for what becomes of it and return that; never call it on the I/O thread.

    Raises:
        TypeError, ValueError: AMQP cannot carry it.
    """
    results = SimpleQueue[Published]()
    bus.publish(message, results.put, deadline_s=deadline_s)
    return results.get()


def publish_and_wait(bus: Publisher, message: Outgoing, *, deadline_s: float = PUBLISH_DEADLINE_S) -> None:
    """Publish and wait for the confirm; never call it on the I/O thread.

    Raises:
        Unroutable: no queue is bound for the routing key.
        PublishNotConfirmed: refused, lost, or the deadline passed.
    """
    result = publish_and_tell(bus, message, deadline_s=deadline_s)
    if result.outcome is Outcome.RETURNED:
        raise Unroutable(message.exchange, message.routing_key)
    if result.outcome is not Outcome.CONFIRMED:
        reason = f"{result.outcome.value}: {result.reason}" if result.reason else result.outcome.value
        raise PublishNotConfirmed(message.properties.message_id or "", reason, is_sent=result.is_sent)

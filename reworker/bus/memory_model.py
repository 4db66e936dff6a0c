"""Exchanges, queues and routing of the in-memory broker; no threads, no clock: its owner holds the lock."""

from __future__ import annotations

import bisect
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from reworker.bus.contract import (
    BindingSpec,
    ExchangeSpec,
    Outcome,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
)
from reworker.errors import TopologyMismatch

#: AMQP reply codes. Source: AMQP 0-9-1, constants.
NO_ROUTE, NOT_FOUND, LOCKED, PRECONDITION_FAILED = 312, 404, 405, 406
#: moves through dead-letter exchanges after which a message is dropped, so that a cycle ends.
MAX_DEAD_LETTERINGS = 100


class Stored:
    """One message in one queue."""

    __slots__ = ("body", "exchange", "properties", "rank", "redelivered", "routing_key")

    def __init__(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> None:
        self.exchange, self.routing_key = exchange, routing_key
        self.body, self.properties = body, properties
        self.redelivered = False
        #: its place among those of its queue.
        self.rank = (0, 0)


class PendingPublish:
    """A publish without its outcome."""

    __slots__ = ("deadline_mono_s", "is_sent", "message", "on_done")

    def __init__(
        self, message: Outgoing, on_done: Callable[[Published], None] | None, deadline_mono_s: float
    ) -> None:
        self.message, self.on_done, self.deadline_mono_s = message, on_done, deadline_mono_s
        self.is_sent = False


def stamped(message: Outgoing, user: str) -> Outgoing:
    """Return a message that names its sender."""
    properties = msgspec.structs.replace(message.properties, user_id=user)
    return msgspec.structs.replace(message, properties=properties)


class Subscriber(Protocol):
    """A consumer as a queue sees it."""

    def has_room(self) -> bool:
        """Tell whether its prefetch allows one more delivery."""
        ...

    def push(self, stored: Stored) -> None:
        """Deliver a message to it."""
        ...


class MemoryQueue:
    """Messages waiting in order, and the consumers that take turns."""

    def __init__(self, spec: QueueSpec, owner: object = None) -> None:
        self.spec, self.owner = spec, owner
        self.ready: deque[Stored] = deque()
        self.subscribers: deque[Subscriber] = deque()
        self._orders = itertools.count(1)

    def add(self, stored: Stored) -> None:
        """Append a message and deliver what can be delivered."""
        most = self.spec.arguments.get("x-max-priority", 0)
        stored.rank = (-min(stored.properties.priority or 0, most), next(self._orders))
        self._insert(stored)
        self.dispatch()

    def put_back(self, stored: Stored) -> None:
        """Put a delivered message back to its old place, marked as redelivered; `dispatch` comes later."""
        stored.redelivered = True
        self._insert(stored)

    def _insert(self, stored: Stored) -> None:
        if not self.ready or self.ready[-1].rank < stored.rank:
            self.ready.append(stored)
        else:
            self.ready.insert(bisect.bisect(self.ready, stored.rank, key=lambda one: one.rank), stored)

    def dispatch(self) -> None:
        """Deliver in turn to the consumers that have room."""
        idle_count = 0
        while self.ready and idle_count < len(self.subscribers):
            subscriber = self.subscribers[0]
            self.subscribers.rotate(-1)
            if subscriber.has_room():
                idle_count = 0
                subscriber.push(self.ready.popleft())
            else:
                idle_count += 1


class Model:
    """The whole virtual host."""

    def __init__(self) -> None:
        self.queues: dict[str, MemoryQueue] = {}
        self._exchanges: dict[str, ExchangeSpec] = {}
        self._bindings: list[BindingSpec] = []

    def declare(self, topology: TopologySpec, owner: object) -> None:
        """Create everything that is missing; `owner` is the connection of exclusive queues.

        Raises:
            TopologyMismatch: something exists as another.
        """
        for exchange in topology.exchanges:
            self.declare_exchange(exchange)
        for queue in topology.queues:
            self.declare_queue(queue, owner)
        for binding in topology.bindings:
            self.bind(binding)

    def require(self, topology: TopologySpec) -> None:
        """Raise `TopologyMismatch` when an exchange or a queue is missing."""
        for exchange in topology.exchanges:
            self.require_exchange(exchange.name)
        for queue in topology.queues:
            self.require_queue(queue.name)

    def declare_exchange(self, spec: ExchangeSpec) -> None:
        """Create an exchange, or check that it is the same.

        Raises:
            TopologyMismatch: it exists with another kind or durability.
        """
        found = self._exchanges.setdefault(spec.name, spec)
        if found != spec:
            raise TopologyMismatch(spec.name, PRECONDITION_FAILED, str(spec), str(found))

    def declare_queue(self, spec: QueueSpec, owner: object) -> None:
        """Create a queue, or check that it is the same; `owner` is the connection of an exclusive one.

        Raises:
            TopologyMismatch: it exists with other arguments, or belongs to another connection.
        """
        queue = self.queues.get(spec.name)
        if queue is None:
            self.queues[spec.name] = MemoryQueue(spec, owner if spec.exclusive else None)
        elif queue.owner not in (None, owner):
            raise TopologyMismatch(spec.name, LOCKED, str(spec), "exclusive to another connection")
        elif _with_type(queue.spec) != _with_type(spec):
            raise TopologyMismatch(spec.name, PRECONDITION_FAILED, str(spec), str(queue.spec))

    def bind(self, spec: BindingSpec) -> None:
        """Bind a queue to an exchange; a second time changes nothing.

        Raises:
            TopologyMismatch: one of the two is missing.
        """
        self.require_exchange(spec.exchange)
        self.require_queue(spec.queue)
        if spec not in self._bindings:
            self._bindings.append(spec)

    def require_exchange(self, name: str) -> None:
        """Raise `TopologyMismatch` when there is no such exchange."""
        if not self.has_exchange(name):
            raise TopologyMismatch(name, NOT_FOUND, "an exchange", "no exchange of that name")

    def require_queue(self, name: str) -> None:
        """Raise `TopologyMismatch` when there is no such queue."""
        if name not in self.queues:
            raise TopologyMismatch(name, NOT_FOUND, "a queue", "no queue of that name")

    def has_exchange(self, name: str) -> bool:
        """Tell whether messages can be published to this exchange."""
        return not name or name in self._exchanges

    def delete_queue(self, name: str) -> None:
        """Remove a queue with its messages and bindings."""
        self.queues.pop(name, None)
        self._bindings = [binding for binding in self._bindings if binding.queue != name]

    def delete_if_unused(self, name: str) -> bool:
        """Remove a queue without messages and consumers; tell whether it is gone."""
        found = self.queues.get(name)
        if found is not None and (found.ready or found.subscribers):
            return False
        self.delete_queue(name)
        return True

    def take_in(self, pending: PendingPublish) -> Published | None:
        """Route a message that is not sent yet; return why it cannot be routed, None when it is."""
        if pending.is_sent:
            return None
        pending.is_sent = True
        exchange = pending.message.exchange
        if not self.has_exchange(exchange):
            reason = f"NOT_FOUND - no exchange '{exchange}'"
            return Published(Outcome.RETURNED, reply_code=NOT_FOUND, reason=reason)
        if self.route(pending.message):
            return None
        return Published(Outcome.RETURNED, reply_code=NO_ROUTE, reason="NO_ROUTE")

    def route(self, message: Outgoing) -> bool:
        """Put a message into every queue it is routed to; tell whether there was one."""
        return self._route(message.exchange, message.routing_key, message.body, message.properties)

    def dead_letter(self, queue: MemoryQueue, stored: Stored) -> None:
        """Move a rejected message to the queue's dead-letter exchange, or drop it when there is none."""
        exchange = queue.spec.arguments.get("x-dead-letter-exchange")
        if exchange is None or not self.has_exchange(str(exchange)):
            return
        headers = with_death(stored, queue.spec.name)
        if sum(death["count"] for death in headers["x-death"]) > MAX_DEAD_LETTERINGS:
            return
        key = queue.spec.arguments.get("x-dead-letter-routing-key", stored.routing_key)
        properties = msgspec.structs.replace(stored.properties, headers=headers)
        self._route(str(exchange), str(key), stored.body, properties)

    def _route(self, exchange: str, routing_key: str, body: bytes, properties: Properties) -> bool:
        names = self._targets(exchange, routing_key)
        for name in names:
            self.queues[name].add(Stored(exchange, routing_key, body, properties))
        return bool(names)

    def _targets(self, exchange: str, routing_key: str) -> list[str]:
        if not exchange:
            return [routing_key] if routing_key in self.queues else []
        kind = self._exchanges[exchange].kind
        matching = (
            binding.queue
            for binding in self._bindings
            if binding.exchange == exchange and is_match(kind, binding.routing_key, routing_key)
        )
        return list(dict.fromkeys(matching))


def is_match(kind: str, pattern: str, routing_key: str) -> bool:
    """Tell whether a binding lets a message through; `kind` is direct, topic or fanout."""
    if kind == "fanout":
        return True
    if kind == "topic":
        return _is_topic_match(pattern.split("."), routing_key.split("."))
    return pattern == routing_key


def _is_topic_match(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return any(_is_topic_match(pattern[1:], words[skip:]) for skip in range(len(words) + 1))
    return bool(words) and pattern[0] in ("*", words[0]) and _is_topic_match(pattern[1:], words[1:])


def with_death(stored: Stored, queue: str) -> dict[str, Any]:
    """Return the message's headers with this rejection counted in ``x-death``, newest first.

    Source: RabbitMQ, dead letter exchanges, effects on headers.
    """
    headers = dict(stored.properties.headers or {})
    deaths = [dict(death) for death in headers.get("x-death") or ()]
    same = next((d for d in deaths if (d["queue"], d["reason"]) == (queue, "rejected")), None)
    if same is None:
        same = {
            "count": 0,
            "reason": "rejected",
            "queue": queue,
            "exchange": stored.exchange,
            "routing-keys": [stored.routing_key],
        }
    else:
        deaths.remove(same)
    same["count"] += 1
    headers["x-death"] = [same, *deaths]
    headers.setdefault("x-first-death-queue", queue)
    headers.setdefault("x-first-death-reason", "rejected")
    headers.setdefault("x-first-death-exchange", stored.exchange)
    return headers


def _with_type(spec: QueueSpec) -> QueueSpec:
    """Return what a broker takes a queue for: classic unless it says otherwise."""
    return msgspec.structs.replace(spec, arguments={"x-queue-type": "classic", **spec.arguments})

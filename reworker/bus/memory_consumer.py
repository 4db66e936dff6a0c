"""Consumers and deliveries of the in-memory bus; callers hold the lock, except of `settle` and `cancel`."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Protocol

from reworker.bus.contract import Delivery, Verdict
from reworker.bus.memory_model import Model, Stored
from reworker.bus.received import PropertiesView
from reworker.clock import Clock
from reworker.errors import AlreadySettled


class Host(Protocol):
    """What a consumer needs of its bus."""

    @property
    def lock(self) -> threading.Condition:
        """Guards everything on one broker."""
        ...

    @property
    def model(self) -> Model:
        """Queues and exchanges."""
        ...

    def post(self, job: Callable[[], None]) -> None:
        """Have a callback run on the I/O thread."""
        ...


class MemoryDelivery:
    """One message as delivered; see `contract.Delivery`."""

    __slots__ = (
        "_consumer",
        "_is_settled",
        "body",
        "consumer_tag",
        "delivery_tag",
        "exchange",
        "properties",
        "queue",
        "redelivered",
        "routing_key",
        "stored",
    )

    def __init__(self, consumer: MemoryConsumer, stored: Stored, delivery_tag: int) -> None:
        self._consumer, self.stored, self._is_settled = consumer, stored, False
        self.body: bytes = stored.body
        self.properties: PropertiesView = stored.properties
        self.exchange, self.routing_key = stored.exchange, stored.routing_key
        self.redelivered = stored.redelivered
        self.consumer_tag, self.delivery_tag = consumer.tag, delivery_tag
        self.queue = consumer.queue

    @property
    def is_live(self) -> bool:
        """Tell whether it can still be settled."""
        with self._consumer.lock:
            return self._consumer.has(self.delivery_tag)

    def settle(self, verdict: Verdict) -> None:
        """Acknowledge or reject, once; a stale delivery is forgotten silently."""
        with self._consumer.lock:
            if self._is_settled:
                raise AlreadySettled(f"delivery {self.delivery_tag} of {self.queue} was settled twice")
            self._is_settled = True
            self._consumer.settle(self, verdict)


class MemoryConsumer:
    """A subscription; see `contract.Consumer`."""

    _tags = itertools.count(1)

    def __init__(
        self, host: Host, queue: str, on_delivery: Callable[[Delivery], None], prefetch: int
    ) -> None:
        self.queue, self.prefetch = queue, prefetch
        self.lock = host.lock
        self.tag = ""
        self.is_cancelled = False
        #: see `contract.Consumer`; a test may set it.
        self.ack_within_s: float | None = None
        self._host, self._on_delivery = host, on_delivery
        self._is_active = False
        self._delivery_tags = itertools.count(1)
        self._unsettled: dict[int, MemoryDelivery] = {}

    @property
    def is_active(self) -> bool:
        """Whether it is subscribed now."""
        return self._is_active

    @property
    def is_over(self) -> bool:
        """Whether it is cancelled, and all that it was given is settled."""
        return self.is_cancelled and not self._unsettled

    def start(self) -> None:
        """Subscribe with a fresh tag, when the queue is there."""
        found = self._host.model.queues.get(self.queue)
        if found is None or self._is_active or self.is_cancelled:
            return
        self.tag = f"memory.{next(self._tags)}"
        self._is_active = True
        found.subscribers.append(self)
        found.dispatch()

    def pull(self) -> None:
        """Take what is due, if it is not pushed."""

    def stop(self) -> None:
        """Unsubscribe; what is unsettled stays so."""
        self._is_active = False
        found = self._host.model.queues.get(self.queue)
        if found is not None and self in found.subscribers:
            found.subscribers.remove(self)

    def release(self) -> None:
        """Unsubscribe and put everything unsettled back: the connection or the queue is gone."""
        self.stop()
        unsettled, self._unsettled = list(self._unsettled.values()), {}
        found = self._host.model.queues.get(self.queue)
        if found is not None:
            for delivery in unsettled:
                found.put_back(delivery.stored)
            found.dispatch()

    def cancel(self) -> None:
        """Ask for no more deliveries. Safe twice."""
        with self.lock:
            if self.is_cancelled:
                return
            self.is_cancelled = True
            self.stop()
            found = self._host.model.queues.get(self.queue)
            if found is not None and found.spec.auto_delete and not found.subscribers:
                self._host.model.delete_queue(self.queue)

    def has_room(self) -> bool:
        """Tell whether prefetch allows one more."""
        return not self.prefetch or len(self._unsettled) < self.prefetch

    def has(self, delivery_tag: int) -> bool:
        """Tell whether a delivery is unsettled."""
        return delivery_tag in self._unsettled

    def push(self, stored: Stored) -> None:
        """Hand a message to the I/O thread."""
        delivery = MemoryDelivery(self, stored, next(self._delivery_tags))
        self._unsettled[delivery.delivery_tag] = delivery
        self._host.post(lambda: self._hand_over(delivery))

    def _hand_over(self, delivery: MemoryDelivery) -> None:
        if delivery.delivery_tag in self._unsettled:
            self._on_delivery(delivery)

    def settle(self, delivery: MemoryDelivery, verdict: Verdict) -> None:
        """Carry out a verdict, unless the connection was lost since."""
        if self._unsettled.pop(delivery.delivery_tag, None) is None:
            return
        found = self._host.model.queues.get(self.queue)
        if found is None:
            return
        if verdict is Verdict.REQUEUE:
            found.put_back(delivery.stored)
        elif verdict is Verdict.DEAD_LETTER:
            self._host.model.dead_letter(found, delivery.stored)
        found.dispatch()


class Pace:
    """Says when it is time again.

    Args:
        every_s: seconds from one time to the next.
        clock: tells the time.
    """

    def __init__(self, every_s: float, clock: Clock) -> None:
        self._every_s, self._clock = every_s, clock
        self._next_mono_s = clock.mono_s()

    def is_time(self) -> bool:
        """Tell whether it is time; if so, the next time is `every_s` from now."""
        now = self._clock.mono_s()
        is_due = now >= self._next_mono_s
        if is_due:
            self._next_mono_s = now + self._every_s
        return is_due


class MemoryPull(MemoryConsumer):
    """A consumer that takes one message at its pace."""

    def __init__(
        self, host: Host, queue: str, on_delivery: Callable[[Delivery], None], prefetch: int, pace: Pace
    ) -> None:
        super().__init__(host, queue, on_delivery, prefetch)
        self._pace = pace

    def start(self) -> None:
        """Begin, when the queue is there."""
        if self.queue in self._host.model.queues and not self._is_active and not self.is_cancelled:
            self.tag = f"memory.{next(self._tags)}"
            self._is_active = True

    def pull(self) -> None:
        """Take one message, if it is time, one waits and prefetch allows it; the broker's lock is held."""
        found = self._host.model.queues.get(self.queue)
        if self._is_active and self._pace.is_time() and found is not None and found.ready and self.has_room():
            self.push(found.ready.popleft())

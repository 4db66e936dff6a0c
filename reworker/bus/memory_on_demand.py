"""A consumer of the in-memory bus that takes messages only while somebody waits."""

from __future__ import annotations

from collections.abc import Callable

from reworker.bus.contract import Delivery, Demand
from reworker.bus.memory_consumer import Host, MemoryConsumer, MemoryDelivery
from reworker.bus.memory_model import Stored


class MemoryOnDemand(MemoryConsumer):
    """See `contract.Bus.consume_on_demand`.

    Args:
        host: the bus.
        queue: name of the queue.
        on_delivery: called for each delivery.
        demand: says how many messages are wanted; never asked while the broker's lock is held.
    """

    def __init__(
        self, host: Host, queue: str, on_delivery: Callable[[Delivery], None], demand: Demand
    ) -> None:
        super().__init__(host, queue, on_delivery, prefetch=0)
        self._demand = demand
        self._taken_count = self._lost_count = 0

    def look(self) -> None:
        """Look whether more is wanted; any thread."""
        self._host.post(self._look)

    def start(self) -> None:
        """Begin, when the queue is there."""
        if self.queue in self._host.model.queues and not self._is_active and not self.is_cancelled:
            self.tag = f"memory.{next(self._tags)}"
            self._is_active = True
            self._taken_count = 0
            lost_count, self._lost_count = self._lost_count, 0
            self._host.post(lambda: self._on_begun(lost_count))

    def _on_begun(self, lost_count: int) -> None:
        if self._is_active:
            self._demand.on_begun(lost_count)
            self._look()

    def release(self) -> None:
        """Put everything unsettled back: the connection or the queue is gone."""
        self._lost_count += len(self._unsettled)
        super().release()

    def has_room(self) -> bool:
        """Tell whether one may be pushed: one at a time."""
        return not self._taken_count

    def push(self, stored: Stored) -> None:
        """Take one that came while somebody waited; the broker's lock is held."""
        self._subscribe(is_wanted=False)
        self._take(stored)

    def _take(self, stored: Stored) -> None:
        self._taken_count += 1
        delivery = MemoryDelivery(self, stored, next(self._delivery_tags))
        self._unsettled[delivery.delivery_tag] = delivery
        self._host.post(lambda: self._pass_on(delivery))

    def _pass_on(self, delivery: MemoryDelivery) -> None:
        if delivery.delivery_tag in self._unsettled:
            self._taken_count -= 1
            self._on_delivery(delivery)
            self._look()

    def _look(self) -> None:
        if not self._ask(self._demand.wanted_count()):
            self._demand.on_empty()
            is_wanted = self._demand.wanted_count() > 0
            with self.lock:
                self._subscribe(is_wanted=is_wanted and self._is_active)

    def _ask(self, wanted_count: int) -> bool:
        """Take what is wanted and there; tell whether that is all, or it is not known yet."""
        with self.lock:
            found = self._host.model.queues.get(self.queue)
            if found is None or not self._is_active:
                return True
            while found.ready and self._taken_count < wanted_count:
                self._take(found.ready.popleft())
            if not wanted_count:
                self._subscribe(is_wanted=False)
            return self._taken_count > 0 or not wanted_count

    def _subscribe(self, *, is_wanted: bool) -> None:
        """Have the next message pushed, or not; the broker's lock is held."""
        found = self._host.model.queues.get(self.queue)
        if found is None:
            return
        is_there = self in found.subscribers
        if is_there and not is_wanted:
            found.subscribers.remove(self)
        elif is_wanted and not is_there:
            found.subscribers.append(self)
            found.dispatch()

"""A consumer of many queues of the in-memory bus."""

from __future__ import annotations

from collections.abc import Callable

from reworker.bus.contract import Delivery, Verdict
from reworker.bus.memory_consumer import Host, MemoryConsumer, MemoryDelivery
from reworker.bus.memory_model import Stored
from reworker.bus.rota import Rota, Turn


class MemoryMany(MemoryConsumer):
    """Takes one message at a time from whichever queue has one; see `contract.Bus.consume_any`.

    Messages are seen as soon as they are published here, so no queue is looked at twice for one bell.

    Args:
        host: the bus.
        on_delivery: called for each delivery.
        rota: says whose turn it is.
    """

    def __init__(self, host: Host, on_delivery: Callable[[Delivery], None], rota: Rota) -> None:
        super().__init__(host, rota.key, on_delivery, prefetch=1)
        self._rota = rota

    def wake(self) -> None:
        """Look for a turn; any thread."""
        self._host.post(self._look)

    def start(self) -> None:
        """Begin."""
        if not self._is_active and not self.is_cancelled:
            self.tag = f"memory.{next(self._tags)}"
            self._is_active = True
            self._rota.sweep()
            self.wake()

    def stop(self) -> None:
        """Take nothing more; what is unsettled stays so."""
        self._is_active = False
        self._rota.leave(self)

    def release(self) -> None:
        """Put everything unsettled back: the connection is gone."""
        self.stop()
        unsettled, self._unsettled = list(self._unsettled.values()), {}
        for delivery in unsettled:
            self._give_back(delivery)

    def _give_back(self, delivery: MemoryDelivery) -> None:
        found = self._host.model.queues.get(delivery.queue)
        if found is not None:
            found.put_back(delivery.stored)
            found.dispatch()

    def _look(self) -> None:
        with self.lock:
            while self._is_active and self.has_room() and (turn := self._rota.take(self)) is not None:
                self._ask(turn)

    def _ask(self, turn: Turn) -> None:
        found = self._host.model.queues.get(turn.queue)
        if found is None:
            for call in self._rota.missing(turn):
                call()
        elif not found.ready:
            self._rota.empty(turn)
        else:
            self._rota.found(turn)
            self._take(turn.queue, found.ready.popleft())

    def _take(self, queue: str, stored: Stored) -> None:
        delivery = MemoryDelivery(self, stored, next(self._delivery_tags))
        delivery.queue = queue
        self._unsettled[delivery.delivery_tag] = delivery
        self._host.post(lambda: self._hand_over(delivery))

    def settle(self, delivery: MemoryDelivery, verdict: Verdict) -> None:
        """Carry out a verdict, unless the connection was lost since."""
        if self._unsettled.pop(delivery.delivery_tag, None) is None:
            return
        found = self._host.model.queues.get(delivery.queue)
        if found is not None and verdict is Verdict.REQUEUE:
            self._give_back(delivery)
        elif found is not None and verdict is Verdict.DEAD_LETTER:
            self._host.model.dead_letter(found, delivery.stored)
        self.wake()

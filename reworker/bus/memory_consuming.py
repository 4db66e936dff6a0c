"""The consuming half of the in-memory bus: makes the consumers of each kind."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reworker.bus.contract import Delivery, Demand
from reworker.bus.memory_consumer import MemoryConsumer, MemoryPull, Pace
from reworker.bus.memory_many import MemoryMany
from reworker.bus.memory_model import Model
from reworker.bus.memory_on_demand import MemoryOnDemand
from reworker.bus.rota import Rota
from reworker.clock import Clock


class ConsumingBus:
    """What `MemoryBus` does about consumers.

    Args:
        lock: guards everything on one broker.
        model: queues and exchanges.
        clock: for consumers that pull.
    """

    def __init__(self, lock: threading.Condition, model: Model, clock: Clock) -> None:
        self.lock, self.model, self._clock = lock, model, clock
        self._consumers: list[MemoryConsumer] = []
        self._is_connected = self._is_pulling = False

    def post(self, job: Callable[[], None]) -> None:
        """Have a callback run on the I/O thread."""
        raise NotImplementedError

    def consume(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        prefetch: int,
        longest_s: float | None = 0.0,
        every_s: float | None = None,
    ) -> MemoryConsumer:
        """Consume a queue, now or as soon as it exists; see `contract.Bus.consume`."""
        consumer = MemoryConsumer(self, queue, on_delivery, prefetch)
        if every_s is not None:
            pace = Pace(every_s, self._clock)
            consumer, self._is_pulling = MemoryPull(self, queue, on_delivery, prefetch, pace), True
            self.post(_nothing)  # wakes the thread, so that it looks at the time
        return self._begin(consumer)

    def consume_any(
        self, rota: Rota, on_delivery: Callable[[Delivery], None], *, longest_s: float | None = 0.0
    ) -> MemoryConsumer:
        """Take messages of many queues, one at a time; see `contract.Bus.consume_any`."""
        return self._begin(MemoryMany(self, on_delivery, rota))

    def consume_on_demand(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        demand: Demand,
        *,
        longest_s: float | None = 0.0,
    ) -> MemoryOnDemand:
        """Take messages only while somebody waits; see `contract.Bus.consume_on_demand`."""
        consumer = MemoryOnDemand(self, queue, on_delivery, demand)
        self._begin(consumer)
        return consumer

    def _begin(self, consumer: MemoryConsumer) -> MemoryConsumer:
        with self.lock:
            self._consumers.append(consumer)
            self.start_consumers()
        return consumer

    def start_consumers(self) -> None:
        """Start the consumers that are not started and can be; the broker's lock is held."""
        self._consumers = [one for one in self._consumers if not one.is_over]
        if self._is_connected:
            for consumer in self._consumers:
                consumer.start()


def _nothing() -> None:
    return None

"""Where messages go that nobody can use: the dead-letter queue, each with its reason."""

from __future__ import annotations

import logging

from reworker.bus.contract import Bus, Delivery
from reworker.clock import Clock, SystemClock
from reworker.core.counters import Counters
from reworker.topology import names
from reworker.topology.refusal import REASON_HEADER, Refusal, refuse

__all__ = ["REASON_HEADER", "DeadLetters"]

logger = logging.getLogger(__name__)


class DeadLetters:
    """Moves deliveries to the dead-letter exchange with their reason; returns at once, any thread.

    Args:
        bus: publishes.
        counters: of the core.
        name: of the core, for the header that says who refused.
        clock: for the header that says when.
    """

    def __init__(self, bus: Bus, counters: Counters, *, name: str = "", clock: Clock | None = None) -> None:
        self._bus, self._counters = bus, counters
        self._by, self._clock = f"core {name}".rstrip(), clock or SystemClock()

    def refuse(self, delivery: Delivery, reason: str) -> None:
        """Move one delivery there; see `topology.refusal.refuse`."""
        self._counters.add("dead_lettered")
        logger.warning(
            "message from queue %s (app %s, correlation id %.60r) goes to %s: %s",
            delivery.queue,
            delivery.properties.app_id,
            delivery.properties.correlation_id,
            names.DEAD_QUEUE,
            reason,
        )
        refuse(self._bus, delivery, Refusal(reason, self._by, self._clock.now()))

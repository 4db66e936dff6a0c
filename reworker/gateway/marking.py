"""Markers of the queues that are polled: the core looks for them, for no consumer is there to be seen.

A marker is a queue with one message in it, which lives for some seconds after the last poll. The queue alone
would not do: whoever looks at it renews its own expiry, on RabbitMQ.
"""

from __future__ import annotations

from reworker.bus.contract import Outgoing, Properties, QueueSpec, TopologySpec
from reworker.errors import BusError
from reworker.gateway.house import House
from reworker.topology import names

#: how many lives of its message a marker that nobody declares or looks at lives itself.
QUEUE_LIVES = 4


class Marker:
    """Marks one queue now and then while it is polled.

    Args:
        house: of the gateway.
        queue: that is polled.
    """

    def __init__(self, house: House, queue: str) -> None:
        self._house, self._queue = house, queue
        self._next_mono_s = house.clock.mono_s()

    def note(self, now_mono_s: float) -> None:
        """Note that the queue is polled; returns at once. The lock is held."""
        if now_mono_s >= self._next_mono_s:
            self._next_mono_s = now_mono_s + names.POLLED_RENEW_S
            self._house.submit(self._mark)

    def _mark(self) -> None:
        """On a thread that may wait."""
        bus = self._house.bus
        try:
            bus.declare(marker_of(self._queue))
        except BusError as error:
            self._house.logger.debug("%s was polled, which could not be marked: %s", self._queue, error)
            return
        message = Outgoing("", names.polled_queue(self._queue), b"", Properties())
        bus.publish(message, deadline_s=names.POLLED_RENEW_S)


def marker_of(queue: str) -> TopologySpec:
    """Return the marker of a polled queue."""
    life_ms = names.POLLED_EXPIRES_S * 1000
    arguments = {
        "x-queue-type": "classic",
        "x-message-ttl": life_ms,
        "x-max-length": 1,
        "x-expires": QUEUE_LIVES * life_ms,
    }
    return TopologySpec(queues=(QueueSpec(names.polled_queue(queue), arguments=arguments),))

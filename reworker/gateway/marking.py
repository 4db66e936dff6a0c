"""Markers of the queues that are polled: the core looks for them, for no consumer is there to be seen."""

from __future__ import annotations

from reworker.bus.contract import QueueSpec, TopologySpec
from reworker.errors import BusError
from reworker.gateway.house import House
from reworker.topology import names


class Marker:
    """Declares a marker for each queue that is polled, now and then.

    Args:
        house: of the gateway.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._declared_mono_s: dict[str, float] = {}

    def note(self, queue: str) -> None:
        """Note that a queue is polled; any thread, returns at once."""
        now_mono_s = self._house.clock.mono_s()
        with self._house.lock:
            last_mono_s = self._declared_mono_s.get(queue)
            if last_mono_s is not None and now_mono_s - last_mono_s < names.POLLED_RENEW_S:
                return
            self._declared_mono_s[queue] = now_mono_s
        self._house.submit(lambda: self._declare(queue))

    def _declare(self, queue: str) -> None:
        try:
            self._house.bus.declare(marker_of(queue))
        except BusError as error:
            self._house.logger.debug("%s was polled, which could not be marked: %s", queue, error)


def marker_of(queue: str) -> TopologySpec:
    """Return the marker of a polled queue."""
    arguments = {"x-expires": names.POLLED_EXPIRES_S * 1000}
    return TopologySpec(queues=(QueueSpec(names.polled_queue(queue), arguments=arguments),))

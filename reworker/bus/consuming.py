"""Consumers of a queue, as their users see them, and what one asks of those who wait for messages."""

from __future__ import annotations

from typing import Protocol


class Consumer(Protocol):
    """A subscription to one queue, kept alive over reconnections."""

    queue: str

    @property
    def is_active(self) -> bool:
        """Whether the broker has confirmed the consumer and not cancelled it since."""
        ...

    @property
    def ack_within_s(self) -> float | None:
        """Seconds after a delivery in which it is to be settled, done or not; None is without limit.

        Later the broker may give it to another consumer.
        """
        ...

    def cancel(self) -> None:
        """Ask for no more deliveries; those already delivered can still be settled. Safe twice."""
        ...


class Demand(Protocol):
    """Those who wait for messages of a queue; asked and told on the I/O thread."""

    def wanted_count(self) -> int:
        """Return how many messages they could be given now, besides those they were."""
        ...

    def on_empty(self) -> None:
        """Note that the queue has nothing now: who does not want to wait goes."""
        ...

    def on_begun(self, lost_count: int) -> None:
        """Note that the queue can be asked, the first time or again.

        Args:
            lost_count: deliveries that were not settled when its channel was lost: they are in the queue.
        """
        ...


class OnDemandConsumer(Consumer, Protocol):
    """A consumer for those who wait; see `Bus.consume_on_demand`."""

    def look(self) -> None:
        """Look whether more is wanted than before; any thread, returns at once."""
        ...

"""Consumers of a queue and whose turn it is: higher priority first, then round robin. No I/O."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Protocol

from reworker.broker.codec import short
from reworker.broker.model import Entry


class Source(Protocol):
    """What a channel asks of the queue that a delivery came from."""

    name: str
    turns: Turns
    counts_deliveries: bool

    def ack(self, entry: Entry) -> None:
        """Forget an entry that was taken."""
        ...

    def reject(self, entry: Entry, reason: str = "rejected") -> None:
        """Dead-letter an entry that was taken."""
        ...

    def requeue(self, entry: Entry) -> None:
        """Put an entry back to its place."""
        ...

    def dispatch(self) -> None:
        """Give waiting messages to willing consumers."""
        ...


class Sink(Protocol):
    """What a consumer asks of its channel."""

    def has_room(self, consumer: Consumer) -> bool:
        """Tell whether the channel may be sent another delivery for this consumer."""
        ...

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send a delivery."""
        ...

    def park(self, consumer: Consumer) -> None:
        """Remember a consumer that could not take; it is enlisted again when there is room."""
        ...

    def cancel_notify(self, consumer: Consumer) -> None:
        """Tell the client that its consumer is gone with the queue."""
        ...


class Consumer:
    """A subscription of a channel to a queue."""

    __slots__ = (
        "exclusive",
        "is_cancelled",
        "is_waiting",
        "no_ack",
        "prefetch",
        "priority",
        "queue",
        "raw_tag",
        "sink",
        "tag",
        "unacked_count",
    )

    def __init__(
        self,
        tag: str,
        queue: Source,
        sink: Sink,
        *,
        no_ack: bool = False,
        exclusive: bool = False,
        prefetch: int = 0,
        priority: int = 0,
    ) -> None:
        self.tag, self.queue, self.sink = tag, queue, sink
        self.no_ack, self.exclusive, self.prefetch, self.priority = no_ack, exclusive, prefetch, priority
        self.raw_tag = short(tag)
        self.unacked_count = 0
        self.is_waiting = self.is_cancelled = False

    def can_take(self) -> bool:
        """Tell whether it may be given a message now."""
        if not self.no_ack and self.prefetch and self.unacked_count >= self.prefetch:
            return False
        return self.sink.has_room(self)

    def deliver(self, entry: Entry) -> None:
        """Hand it a message that was taken from its queue."""
        self.sink.deliver(self, entry)


class Turns:
    """The consumers of one queue; those that can take wait in a heap for their turn.

    A consumer that cannot take is handed to its channel (`Sink.park`), which enlists it again.
    """

    def __init__(self, *, is_single_active: bool = False) -> None:
        self.consumers: list[Consumer] = []
        self.active: Consumer | None = None
        self._is_single_active = is_single_active
        self._waiting: list[tuple[int, int, Consumer]] = []
        self._turn = 0

    @property
    def has_exclusive(self) -> bool:
        """Whether a consumer has the queue for itself."""
        return any(consumer.exclusive for consumer in self.consumers)

    def add(self, consumer: Consumer) -> None:
        """Add a consumer; with a single active one it only stands by while another is active."""
        self.consumers.append(consumer)
        if self._is_single_active and self.active is None:
            self.active = consumer
        self.enlist(consumer)

    def enlist(self, consumer: Consumer) -> None:
        """Let a consumer wait for its turn again; no effect while it stands by or waits already."""
        stands_by = self._is_single_active and consumer is not self.active
        if not (stands_by or consumer.is_waiting or consumer.is_cancelled):
            consumer.is_waiting = True
            self._push(consumer)

    def _push(self, consumer: Consumer) -> None:
        self._turn += 1
        heappush(self._waiting, (-consumer.priority, self._turn, consumer))

    def next_willing(self) -> Consumer | None:
        """Return whose turn it is, or None when nobody can take."""
        while self._waiting:
            consumer = heappop(self._waiting)[2]
            if consumer.is_cancelled:
                continue
            if consumer.can_take():
                self._push(consumer)
                return consumer
            consumer.is_waiting = False
            consumer.sink.park(consumer)
        return None

    def remove(self, consumer: Consumer) -> None:
        """Remove a consumer; another becomes the active one when it was that."""
        consumer.is_cancelled = True
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        if consumer is self.active:
            self.active = max(self.consumers, key=lambda other: other.priority, default=None)
            if self.active:
                self.enlist(self.active)

    def clear(self) -> list[Consumer]:
        """Remove and return all consumers."""
        gone, self.consumers, self.active = self.consumers, [], None
        for consumer in gone:
            consumer.is_cancelled = True
        return gone

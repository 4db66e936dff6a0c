"""The deliveries of one channel that wait to be settled, and what its transaction collected. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from reworker.broker.consumers import Consumer, Source
from reworker.broker.errors import precondition_failed
from reworker.broker.model import Entry

#: what can be done with a delivery: `ack`, `reject` or `requeue`.
Settlement = Callable[[Source, Entry], None]


class Unacked(NamedTuple):
    """A delivery that waits to be settled; `consumer` is None for basic.get."""

    tag: int
    queue: Source
    entry: Entry
    consumer: Consumer | None


def ack(queue: Source, entry: Entry) -> None:
    """Settle as done."""
    queue.ack(entry)


def reject(queue: Source, entry: Entry) -> None:
    """Settle as refused for ever."""
    queue.reject(entry)


def requeue(queue: Source, entry: Entry) -> None:
    """Settle as not done: it goes back to its place."""
    queue.requeue(entry)


class Ledger:
    """Unsettled deliveries by delivery tag, and the open transaction if there is one.

    Args:
        on_settled: called after deliveries were settled: there may be room for more.
    """

    def __init__(self, on_settled: Callable[[], None]) -> None:
        self._on_settled = on_settled
        # ordered: walking a plain dict from the front gets slower with everything that left it
        self.unacked: OrderedDict[int, Unacked] = OrderedDict()
        #: how many of them went to consumers; basic.get does not count towards a global prefetch.
        self.consumer_count = 0
        self._pending: list[Callable[[], None]] | None = None
        self._pending_unacked: list[Unacked] = []

    @property
    def is_transactional(self) -> bool:
        """Whether the channel is in tx mode."""
        return self._pending is not None

    def add(self, unacked: Unacked) -> None:
        """Note a delivery."""
        self.unacked[unacked.tag] = unacked
        if unacked.consumer:
            unacked.consumer.unacked_count += 1
            self.consumer_count += 1

    def settle(self, tag: int, how: Settlement, *, multiple: bool = False) -> None:
        """Settle one delivery, or all up to one; tag 0 with multiple means all there are.

        Raises:
            BrokerError: 406, the tag is unknown or settled already.
        """
        taken = self._collect(tag, multiple=multiple)
        if self._pending is None:
            self._apply(taken, how)
        else:
            self._pending_unacked.extend(taken)
            self._pending.append(lambda: self._apply(taken, how))

    def _collect(self, tag: int, *, multiple: bool) -> list[Unacked]:
        if multiple and tag == 0:
            taken = list(self.unacked.values())
            self.unacked.clear()
            return taken
        if tag not in self.unacked:
            raise precondition_failed(f"unknown delivery tag {tag}")
        if not multiple:
            return [self.unacked.pop(tag)]
        tags: list[int] = []
        for earlier in self.unacked:
            if earlier > tag:
                break
            tags.append(earlier)
        return [self.unacked.pop(earlier) for earlier in tags]

    def _apply(self, taken: list[Unacked], how: Settlement) -> None:
        for _, queue, entry, consumer in taken:
            how(queue, entry)
            if consumer:
                consumer.unacked_count -= 1
                self.consumer_count -= 1
        self._on_settled()
        if how is requeue:
            for queue in {id(one.queue): one.queue for one in taken}.values():
                queue.dispatch()

    def requeue_all(self) -> None:
        """Put everything unsettled back to its place."""
        taken = list(self.unacked.values())
        self.unacked.clear()
        self._apply(taken, requeue)

    # Transactions

    def do(self, action: Callable[[], None]) -> None:
        """Do something now, or when the transaction is committed."""
        if self._pending is None:
            action()
        else:
            self._pending.append(action)

    def begin(self) -> None:
        """Turn on transactions; no effect when they are."""
        if self._pending is None:
            self._pending = []

    def commit(self) -> None:
        """Do what the transaction collected, and begin the next; raises 406 outside of tx mode."""
        self._check_transactional()
        pending, self._pending, self._pending_unacked = self._pending or [], [], []
        for action in pending:
            action()

    def rollback(self) -> None:
        """Forget what the transaction collected; its deliveries are unsettled again. Raises 406."""
        self._check_transactional()
        everything = sorted([*self.unacked.values(), *self._pending_unacked], key=lambda one: one.tag)
        self.unacked = OrderedDict((one.tag, one) for one in everything)
        self._pending, self._pending_unacked = [], []

    def _check_transactional(self) -> None:
        if self._pending is None:
            raise precondition_failed("channel is not transactional")

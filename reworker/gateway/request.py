"""One poll: waits for steps, is answered once, and hears whether the answer was written."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from reworker.gateway.contract import Offer, Poll, TaskType
from reworker.gateway.house import House
from reworker.gateway.lease import Lease
from reworker.gateway.timers import Timer


class State(enum.Enum):
    """Where a poll stands."""

    WAITING = "waiting"
    ANSWERED = "answered"
    WRITTEN = "written"
    CANCELLED = "cancelled"


class Owner(Protocol):
    """What a poll asks of its lane."""

    house: House

    def leave(self, request: Request) -> None:
        """Let it wait no more; the lock is held."""
        ...

    def give_back(self, lease: Lease) -> None:
        """Give a step to somebody else that nobody has got; without the lock."""
        ...

    def look(self) -> None:
        """See what is wanted now."""
        ...


class Request:
    """A poll; see `contract.Poll`. It is equal to none but itself.

    Args:
        lane: where it waits.
        kind: what was polled.
        worker_id: who asks.
        on_done: told the end.
        count: offers at most.
        is_holding: it waits when there is nothing.
    """

    __slots__ = (
        "_on_done",
        "count",
        "is_holding",
        "kind",
        "lane",
        "leases",
        "offers",
        "state",
        "timer",
        "worker_id",
    )

    def __init__(
        self,
        lane: Owner,
        kind: TaskType,
        worker_id: str,
        on_done: Callable[[Poll], None],
        *,
        count: int,
        is_holding: bool,
    ) -> None:
        self.lane, self.kind, self.worker_id, self._on_done = lane, kind, worker_id, on_done
        self.count, self.is_holding = count, is_holding
        self.leases: list[Lease] = []
        self.offers: Sequence[Offer] = ()
        self.state = State.WAITING
        self.timer: Timer | None = None

    @property
    def room_count(self) -> int:
        """How many offers it still takes."""
        return self.count - len(self.leases)

    def answer(self) -> None:
        """Tell who asks what was found; no lock is held. Only the first time something happens."""
        with self.lane.house.lock:
            if self.state is not State.WAITING:
                return
            self.lane.leave(self)
            self.state = State.ANSWERED
            self.offers = tuple(lease.offer() for lease in self.leases)
            for lease in self.leases:
                lease.note()
            if self.timer is not None:
                self.timer.cancel()
        if self.offers:  # or a step could be with a worker that nobody knows after a restart
            self.lane.house.book.when_written(self._tell)
        else:
            self._tell()

    def _tell(self) -> None:
        try:
            self._on_done(self)
        except Exception:
            self.lane.house.logger.exception("a poll could not be answered; what it found goes to others")
            self.cancel()

    def time_up(self) -> None:
        """The hold is over."""
        self.answer()
        self.lane.look()

    def cancel(self) -> None:
        """See `contract.Poll.cancel`."""
        with self.lane.house.lock:
            if self.state not in (State.WAITING, State.ANSWERED):
                return
            if self.state is State.WAITING:
                self.lane.leave(self)
            self.state = State.CANCELLED
            leases, self.leases, self.offers = self.leases, [], ()
            if self.timer is not None:
                self.timer.cancel()
        for lease in leases:
            self.lane.give_back(lease)
        self.lane.look()

    def written(self) -> None:
        """See `contract.Poll.written`."""
        with self.lane.house.lock:
            if self.state is not State.ANSWERED:
                return
            self.state = State.WRITTEN
        for lease in self.leases:
            lease.begin()

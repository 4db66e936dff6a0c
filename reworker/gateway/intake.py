"""Where the steps of one lane come from: its queue, asked only for what is wanted, and what comes back."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from reworker.bus.contract import Delivery, OnDemandConsumer, Verdict
from reworker.errors import BusError, ConnectionLost, MessageError, TopologyMismatch
from reworker.execution import decode, report, start
from reworker.gateway.house import House, Remembered
from reworker.gateway.lease_book import LeaseRow
from reworker.gateway.performer import Performer
from reworker.jobs.attempt import Attempt
from reworker.jobs.returning import has_past, return_to_queue
from reworker.jobs.senders import SenderGate
from reworker.jobs.station import Station
from reworker.messages import Reply, encode

#: seconds after which a queue that could not be declared is tried again.
DECLARE_AGAIN_S = 5.0
#: seconds after a restart at which the queue is searched for leased steps: the broker may notice late that
#: the process of before is gone. Afterwards they are not ours any more.
SEARCH_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: seconds after which the queue is searched on when a step stood before ours that another gateway has lost,
#: and how often.
AGAIN_S, AGAIN_COUNT = 0.5, 20


#: final replies that wait for their message to come back; the ledger has those of level 2, too.
UNSENT_COUNT = 10_000


class Lane(Protocol):
    """Who hands out what is found; see `lane.Lane`."""

    house: House
    queue: str
    station: Station
    performer: Performer
    gate: SenderGate | None
    is_closed: bool

    def polls_count(self) -> int:
        """Return how many steps could be handed out now; the lock is held."""
        ...

    def is_wanted(self) -> bool:
        """Tell whether a step could be handed out now."""
        ...

    def answer_empty(self) -> None:
        """Answer who has something, and who does not wait."""
        ...

    def answer_all(self) -> None:
        """Answer everybody who waits with what there is."""
        ...

    def place(self, attempt: Attempt) -> None:
        """Hand out a step."""
        ...

    def restore(self, attempt: Attempt, row: LeaseRow) -> None:
        """Go on with a lease from before a restart."""
        ...


class Intake:
    """Takes the steps of a queue; see `bus.contract.Demand`.

    Beside what polls want it looks for steps that are ours already: those whose connection was lost, whose
    result the broker did not take, or that were leased before a restart. They stand at the head of the queue.

    Args:
        lane: whose steps they are.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane, self._house = lane, lane.house
        self.epoch = 0
        #: final replies that the broker did not take in time, by the key of their attempt.
        self._unsent = Remembered(UNSENT_COUNT)
        #: leases from before a restart whose message has not come back yet, by the same.
        self._remembered: dict[str, LeaseRow] = {}
        self._consumer: OnDemandConsumer | None = None
        self._failure: tuple[float, BusError] | None = None
        self._is_opening = False
        self._reserved_count = self._reclaim_count = self._again_count = 0

    @property
    def ack_within_s(self) -> float | None:
        """Seconds after a delivery in which it is to be settled; None is without limit."""
        return self._consumer.ack_within_s if self._consumer is not None else None

    @property
    def is_busy(self) -> bool:
        """Whether something of it is not settled yet."""
        return bool(self._unsent or self._remembered or self._reserved_count or self._is_opening)

    def look(self) -> None:
        """See what is wanted now; any thread."""
        if self._consumer is not None:
            self._consumer.look()

    # ---- `bus.contract.Demand`

    def wanted_count(self) -> int:
        """Return how many steps are wanted."""
        with self._house.lock:
            # What is ours is asked for one by one, so that hardly anything else is taken.
            return max(self._lane.polls_count() - self._reserved_count, min(self._reclaim_count, 1))

    def on_empty(self) -> None:
        """Nothing is there."""
        with self._house.lock:
            self._reclaim_count = 0
            if self._reserved_count:  # which may be for those who do not wait
                return
        self._lane.answer_empty()

    def on_begun(self, lost_count: int) -> None:
        """What was lost is in the queue, and its leases go on."""
        with self._house.lock:
            self.epoch += 1
            self._again_count = AGAIN_COUNT
            self._reclaim_count += lost_count + len(self._remembered)

    # ---- what comes

    def on_delivery(self, delivery: Delivery) -> None:
        """Take a step that the consumer has found."""
        gate = self._lane.gate
        with self._house.lock:
            is_reclaimed = self._reclaim_count > 0
            self._reclaim_count = max(0, self._reclaim_count - 1)
        if gate is not None and not gate.is_welcome(delivery):
            gate.before(_nothing)(delivery)
        elif self._lane.is_closed:
            self._put_back(delivery)
        elif delivery.redelivered or has_past(delivery):
            with self._house.lock:
                self._reserved_count += 1
            self._house.submit(lambda: self._take_reserved(delivery, is_reclaimed=is_reclaimed))
        else:
            self._take(delivery, is_reclaimed=is_reclaimed)

    def _take_reserved(self, delivery: Delivery, *, is_reclaimed: bool) -> None:
        """Take a step that has been with somebody before: that may take the broker's answer."""
        try:
            self._take(delivery, is_reclaimed=is_reclaimed)
        finally:
            with self._house.lock:
                self._reserved_count -= 1
            self.look()

    def _take(self, delivery: Delivery, *, is_reclaimed: bool) -> None:
        attempt = Attempt(self._lane.station, delivery)
        key = attempt.key
        with self._house.lock:
            reply, row = self._unsent.pop(key), self._remembered.pop(key, None)
        is_ours = row is not None or self._is_ours(attempt)
        if reply is not None:
            self._answer_again(attempt, reply)
        elif row is not None and self._is_restored(attempt, row):
            pass
        elif is_reclaimed and not is_ours and not self._lane.is_wanted():
            self._put_back(delivery)
        else:
            self._begin(attempt)

    def _is_ours(self, attempt: Attempt) -> bool:
        """Tell whether a step is leased or has ended here."""
        station, key = self._lane.station, attempt.key
        if key in station.open_attempts:
            return True
        return attempt.is_redelivered and bool(station.ledger.find(key) or station.recent.find(key))

    def _begin(self, attempt: Attempt) -> None:
        """Hand out a step, or answer it at once: a duplicate, one that is malformed, too late, cancelled."""
        lane = self._lane
        try:
            if decode(lane.performer, attempt) and attempt.step is None:
                attempt.refuse("it is no step: nobody owes an answer to it")
            elif attempt.step is not None and start(lane.performer, attempt):
                lane.place(attempt)
                return
        except Exception as error:
            self._house.logger.exception("%s could not be handed out", attempt.correlation_id)
            text = f"the gateway could not deal with it: {type(error).__name__}: {error}"
            report(attempt, Reply("failed", message=text))
        attempt.finish()

    def _put_back(self, delivery: Delivery) -> None:
        """Leave to others what was only looked at to find steps of ours that came back."""
        with self._house.lock:
            left_count, self._reclaim_count = self._reclaim_count + 1, 0
            is_looking_on = delivery.redelivered and self._again_count > 0
            self._again_count -= is_looking_on
        station = self._lane.station
        if is_looking_on:
            self._house.timers.after(AGAIN_S, partial(self._look_on, left_count))
        if delivery.redelivered:
            delivery.settle(Verdict.REQUEUE)
        else:
            return_to_queue(station.bus, delivery, accepted=station.settings.accept_from)

    def _look_on(self, count: int) -> None:
        with self._house.lock:
            self._reclaim_count = max(self._reclaim_count, count)
        self.look()

    # ---- what is ours

    def keep(self, key: str, reply: Reply) -> None:
        """Keep a final reply that the broker did not take, until the message comes back to be answered."""
        size_bytes = reply_bytes(reply)
        with self._house.lock:
            self._unsent.keep(key, reply, size_bytes)
            self._reclaim_count += 1
        self.look()

    def _answer_again(self, attempt: Attempt, reply: Reply) -> None:
        """Answer a step whose result we have, but could not send before its message came back."""
        if decode(self._lane.performer, attempt):
            self._lane.station.open_attempts[attempt.key] = attempt
            attempt.on_settled = lambda is_sent: None if is_sent else self.keep(attempt.key, reply)
            report(attempt, reply)
        attempt.finish()

    def remember(self, rows: Iterable[LeaseRow]) -> None:
        """Look for steps that were leased before a restart."""
        with self._house.lock:
            self._remembered.update((one.key, one) for one in rows)
            self._house.remembered.update((one.task_id, one) for one in self._remembered.values())
        self.open()
        self._search(list(SEARCH_S))

    def _search(self, pauses_s: list[float]) -> None:
        with self._house.lock:
            self._reclaim_count = max(self._reclaim_count, len(self._remembered))
            is_over = not pauses_s or not self._remembered
            if is_over:
                self._give_up()
        self.look()
        if not is_over:
            self._house.timers.after(pauses_s[0], lambda: self._search(pauses_s[1:]))

    def _give_up(self) -> None:
        """Forget leases whose messages have not come back: somebody else has them. The lock is held."""
        for row in self._remembered.values():
            self._house.remembered.pop(row.task_id, None)
            self._house.book.drop(row.key)
        self._remembered.clear()

    def _is_restored(self, attempt: Attempt, row: LeaseRow) -> bool:
        """Go on with a lease from before a restart, unless its step has ended; tell whether it does."""
        self._house.remembered.pop(row.task_id, None)
        station = self._lane.station
        is_ended = station.ledger.find(attempt.key) is not None
        if is_ended or not decode(self._lane.performer, attempt) or attempt.step is None:
            self._house.book.drop(row.key)
            return False
        self._lane.restore(attempt, row)
        return True

    # ---- opening and closing

    def open(self) -> None:
        """Declare the queue and begin to ask it, unless that is done or under way; returns at once."""
        with self._house.lock:
            if self._is_opening or self._consumer is not None:
                return
            self._is_opening = True
        self._house.submit(self._declare)

    def _declare(self) -> None:
        lane, bus, settings = self._lane, self._house.bus, self._lane.station.settings
        failure: tuple[float, BusError] | None = None
        try:
            self._house.on_new_lane(lane)
            bus.declare(settings.topology(), settings.declare)
        except ConnectionLost:
            pass  # it is declared when the connection is back
        except TopologyMismatch as error:
            failure = self._house.clock.mono_s() + DECLARE_AGAIN_S, error
            self._house.logger.error("%s cannot be polled: %s", lane.queue, error)
        consumer: OnDemandConsumer | None = None
        if failure is None:
            consumer = bus.consume_on_demand(lane.queue, self.on_delivery, self, longest_s=None)
        with self._house.lock:
            self._consumer, self._failure, self._is_opening = consumer, failure, False
        if failure is not None:
            lane.answer_all()
        self.look()

    def raise_failure(self, now_mono_s: float) -> None:
        """Raise what kept the queue from being declared just now.

        Raises:
            BusError: it could not be.
        """
        if self._failure is not None and now_mono_s < self._failure[0]:
            raise self._failure[1]

    def close(self) -> None:
        """Ask for nothing more."""
        if self._consumer is not None:
            self._consumer.cancel()


def reply_bytes(reply: Reply) -> int:
    """Return the size of a reply; of one that JSON cannot carry only its end is told, which is short."""
    try:
        return len(encode(reply))
    except MessageError:
        return 0


def _nothing(_delivery: Delivery) -> None:
    return None

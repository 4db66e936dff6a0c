"""From the outbox to the bus: rows are claimed in the database, published, and forgotten with their confirm.

A row that may not be published twice is claimed before it is published, in a transaction of its own or the
next batch's. When a claim ends without a result, such a row becomes a doubt; any other is published again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from reworker.bus.contract import Bus, Outcome, Published
from reworker.clock import Clock
from reworker.core.batch import Claim
from reworker.core.domain_keys import has_choice
from reworker.core.outgoing import outgoing_of
from reworker.core.settings import CoreSettings
from reworker.storage.contract import OutboxRow, Unit

#: seconds between two looks at the outbox when nothing says that there is something.
POLL_S = 1.0
#: part of the lease within which the bus must have given its result.
DEADLINE_OF_LEASE = 0.7

#: result of a row that was not published because another core may have taken it over.
LATE = Published(Outcome.TIMED_OUT, is_sent=False, reason="its claim had ended before it could be published")

OnResult = Callable[[OutboxRow, Published], None]
#: finds the domain of a row that has a choice, then calls with the row that has its final key.
Choose = Callable[[OutboxRow, Callable[[OutboxRow], None]], None]


class Publisher:
    """Publishes rows, up to a window; belongs to the core's thread, which calls `claim` in its transactions.

    Args:
        bus: where to.
        settings: name of this core, for claims; length of a claim; publishes without a result at most.
        on_result: called on the bus's I/O thread with each row's result.
        choose: for the rows whose domain is still to be chosen.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        settings: CoreSettings,
        on_result: OnResult,
        *,
        choose: Choose,
    ) -> None:
        self._bus, self._clock, self._on_result, self._choose = bus, clock, on_result, choose
        self._owner, self._exchange = settings.name, settings.exchange
        self._lease_s, self._window = settings.lease_s, settings.window
        self._fresh: deque[OutboxRow] = deque()
        self._in_flight: set[str] = set()
        #: when rows were found first whose claim had ended.
        self._found_mono_s: dict[str, float] = {}
        self._poll_at_mono_s = 0.0
        self._claimed_at = clock.now()

    @property
    def in_flight_count(self) -> int:
        """Return how many publishes have no result yet."""
        return len(self._in_flight)

    @property
    def is_open(self) -> bool:
        """Tell whether the broker takes messages now; else they are better kept where a cancel finds them."""
        health = self._bus.health()
        return health.is_connected and not health.is_blocked

    def has_work(self) -> bool:
        """Tell whether a transaction with `claim` would find something to publish, as far as is known."""
        is_due = bool(self._fresh) or self._clock.mono_s() >= self._poll_at_mono_s
        return is_due and self._room() > 0 and self.is_open

    def poll_soon(self, after_s: float = 0.0) -> None:
        """Look into the database in a while: another process has written to it, or a delay will end."""
        self._poll_at_mono_s = min(self._poll_at_mono_s, self._clock.mono_s() + after_s)

    def claim_at_once(self, now: datetime) -> Claim | None:
        """Return the claim that rows get which are published right after they are stored."""
        if self._fresh or self._room() <= 0 or not self.is_open:
            return None
        self._claimed_at = now
        return Claim(self._owner, now + timedelta(seconds=self._lease_s))

    def claim(self, unit: Unit, now: datetime) -> tuple[list[OutboxRow], list[OutboxRow]]:
        """Claim rows within a transaction; return (to be published after its COMMIT, in doubt)."""
        room = self._room()
        if room <= 0 or not self.is_open:
            return [], []
        self._claimed_at = now
        rows = [self._fresh.popleft() for _ in range(min(room, len(self._fresh)))]
        doubtful: list[OutboxRow] = []
        if self._clock.mono_s() >= self._poll_at_mono_s:
            found = [row for row in unit.waiting_outbox(now, room) if row.id not in self._in_flight]
            doubtful = self._doubted([row for row in found if row.claimed_by and not row.is_idempotent])
            rows += [row for row in found if not row.claimed_by or row.is_idempotent]
            is_more = len(found) >= room
            self._poll_at_mono_s = self._clock.mono_s() + (0.0 if is_more else POLL_S)
        until = now + timedelta(seconds=self._lease_s)
        claimed = unit.claim_outbox({row.id for row in rows}, self._owner, now, until)
        chosen = {row.id: row for row in rows if row.id in claimed}
        return list(chosen.values()), doubtful

    def _doubted(self, rows: list[OutboxRow]) -> list[OutboxRow]:
        """Return those that were found before: meanwhile a reply would have come that says more of them."""
        now_s = self._clock.mono_s()
        self._found_mono_s = {row.id: self._found_mono_s.get(row.id, now_s) for row in rows}
        return [row for row in rows if now_s - self._found_mono_s[row.id] >= POLL_S]

    def recover(self) -> None:
        """Forget what is remembered of rows, after a transaction failed; the database knows them."""
        self._fresh.clear()
        self._poll_at_mono_s = self._clock.mono_s()

    def offer(self, rows: Iterable[OutboxRow]) -> None:
        """Take the rows of a committed transaction: those claimed are published now, others come next."""
        for row in rows:
            if row.claimed_by:
                self.publish((row,))
            elif len(self._fresh) < self._window:
                self._fresh.append(row)
            else:
                self.poll_soon()

    def publish(self, rows: Iterable[OutboxRow]) -> None:
        """Publish rows that are claimed, unless their claim has ended: this process may have been frozen."""
        now = self._clock.now()
        passed_s = (now - self._claimed_at).total_seconds()
        deadline_s = self._lease_s * DEADLINE_OF_LEASE - max(passed_s, 0.0)
        for row in rows:
            self._in_flight.add(row.id)
            if deadline_s <= 0:
                self._on_result(row, LATE)
            elif has_choice(row):
                until_mono_s = self._clock.mono_s() + deadline_s
                self._choose(row, partial(self._publish_chosen, until_mono_s))
            else:
                self._send(row, now, deadline_s)

    def _publish_chosen(self, until_mono_s: float, row: OutboxRow) -> None:
        """Publish a row whose domain has been chosen, unless that took too long."""
        left_s = until_mono_s - self._clock.mono_s()
        if left_s > 0:
            self._send(row, self._clock.now(), left_s)
        else:
            self._on_result(row, LATE)

    def _send(self, row: OutboxRow, now: datetime, deadline_s: float) -> None:
        message = outgoing_of(row, self._exchange, now)
        self._bus.publish(message, partial(self._on_result, row), deadline_s=deadline_s)

    def finished(self, row: OutboxRow) -> None:
        """Note that the result of a row has been stored."""
        self._in_flight.discard(row.id)

    def _room(self) -> int:
        return self._window - len(self._in_flight)


def doubt(row: OutboxRow) -> tuple[OutboxRow, Published]:
    """Return the result of a row whose claim ended: it may or may not have been published."""
    return row, Published(Outcome.LOST, reason="the core stopped while publishing it")

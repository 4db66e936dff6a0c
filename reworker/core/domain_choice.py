"""Which of its domains a step is sent to: the first that somebody works in, as the broker says it.

What was chosen becomes an event before the message is published, so that people can see where it went.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from reworker.bus.queue_state import OnFound, QueueState
from reworker.clock import Clock
from reworker.core.batch import Applied, Batch, Request
from reworker.core.counters import Counters
from reworker.core.domain_keys import parts_of, routed
from reworker.fsm.domains import name_of
from reworker.fsm.events import DomainChosen
from reworker.storage.contract import OutboxRow
from reworker.topology import names

logger = logging.getLogger(__name__)

#: seconds for which an answer of the broker holds: a thousand steps ask once.
FRESH_S = 1.0
#: seconds that the broker may take for one answer; then the last domain is taken.
ANSWER_S = 5.0

OnChosen = Callable[[str], None]


class Looker(Protocol):
    """The part of a bus that looks at queues."""

    def look(self, queue: str, on_found: OnFound, *, deadline_s: float) -> None:
        """See `Bus.look`."""
        ...


class _Search(msgspec.Struct):
    """A choice under way: (domain, queue to look at) that are left, and whom to tell."""

    left: deque[tuple[str, str]]
    last: str
    on_chosen: OnChosen


class DomainChoice:
    """Asks the broker who works where. Threads: `choose` from any; answers come on the bus's I/O thread.

    A domain counts when a queue of the command there has a consumer, or when somebody polls it over HTTP:
    then there is a message in its marker. Of several that wait for the same answer, one asks.
    """

    def __init__(self, bus: Looker, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, bool]] = {}
        self._waiting: dict[str, list[_Search]] = {}
        self._is_blind = False

    def choose(self, row: OutboxRow, on_chosen: OnChosen) -> None:
        """Find the domain of a row that has a choice; `on_chosen` gets it, perhaps before this returns."""
        command, domains = parts_of(row.routing_key)
        # The last is taken whatever the broker says, so nobody asks about it.
        places = [(name_of(one), queue) for one in domains[:-1] for queue in _looked_at(command, one)]
        self._go_on(_Search(deque(places), name_of(domains[-1]), on_chosen))

    def _go_on(self, search: _Search) -> None:
        while search.left:
            domain, queue = search.left[0]
            is_alive = self._answer_to(queue, search)
            if is_alive is None:
                return
            if is_alive:
                search.on_chosen(domain)
                return
            search.left.popleft()
        search.on_chosen(search.last)

    def _answer_to(self, queue: str, search: _Search) -> bool | None:
        """Return what is known of a queue; None is not yet, and the search goes on with the answer."""
        with self._lock:
            at_mono_s, is_alive = self._known.get(queue, (float("-inf"), False))
            if self._clock.mono_s() - at_mono_s < FRESH_S:
                return is_alive
            waiting = self._waiting.setdefault(queue, [])
            waiting.append(search)
            if len(waiting) > 1:
                return None
        self._bus.look(queue, partial(self._on_found, queue), deadline_s=ANSWER_S)
        return None

    def _on_found(self, queue: str, state: QueueState | None) -> None:
        with self._lock:
            searches = self._waiting.pop(queue, [])
            if state is not None:
                self._forget_old()
                self._known[queue] = (self._clock.mono_s(), _is_alive(queue, state))
        self._note_blindness(is_blind=state is None)
        for one in searches:
            if state is None:
                one.on_chosen(one.last)
            else:
                self._go_on(one)

    def _forget_old(self) -> None:
        limit_mono_s = self._clock.mono_s() - FRESH_S
        self._known = {name: one for name, one in self._known.items() if one[0] > limit_mono_s}

    def _note_blindness(self, *, is_blind: bool) -> None:
        """Say once, not for each step, that the broker does not answer."""
        if is_blind and not self._is_blind:
            logger.warning("the broker does not say who works where: steps go to the last of their domains")
        self._is_blind = is_blind


def _looked_at(command: str, domain: str) -> Iterator[str]:
    """Yield the queues that tell whether somebody works in a domain: those of the command, then markers."""
    queues = names.queues_of(command, name_of(domain))
    yield from queues
    yield from map(names.polled_queue, queues)


def _is_alive(queue: str, state: QueueState) -> bool:
    is_marker = queue.startswith(names.POLLED_PREFIX)
    return (state.message_count if is_marker else state.consumer_count) > 0


class DomainItem:
    """A domain that was chosen, on its way to becoming an event; then the message is published.

    Args:
        row: its message; its domain is still open.
        domain: the one that was chosen; empty is none.
        publish: takes the row with its final key, once the event is stored.
        drop: takes the row when its attempt is not to be sent any more, or it could not be stored.
    """

    can_wait = False

    def __init__(
        self,
        row: OutboxRow,
        domain: str,
        counters: Counters,
        *,
        publish: Callable[[OutboxRow], None],
        drop: Callable[[OutboxRow], None],
    ) -> None:
        self._row, self._domain, self._counters = row, domain, counters
        self._publish, self._drop = publish, drop
        self.request: Request | None = None
        self._is_wanted = False

    def prepare(self, now: datetime) -> bool:
        """Make its event."""
        if self._row.deployment_id is not None and self._row.attempt is not None:
            event = DomainChosen(at=now, attempt=self._row.attempt, domain=self._domain)
            self.request = Request(self._row.deployment_id, event, is_kept=False)
        return True

    def apply(self, batch: Batch) -> None:
        """Fold its event; an attempt that was called off meanwhile ignores it."""
        if self.request is not None:
            self._is_wanted = batch.apply(self.request).applied is Applied.CHANGED

    def settle(self) -> None:
        """Publish the message."""
        if self._is_wanted:
            self._counters.add("domains_chosen")
            self._publish(routed(self._row, self._domain))
        else:
            self._drop(self._row)

    def set_aside(self, error: Exception) -> None:
        """Leave the row to its lease."""
        self._counters.add("set_aside")
        self._drop(self._row)
        logger.error("the domain of %s could not be stored", self._row.id, exc_info=error)

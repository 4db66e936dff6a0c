"""Which of many queues may have a message, and whose turn it is; no I/O. Any thread.

A broker tells nobody that a message has come but by handing it over. So somebody listens for copies, the
bell, and rings here; a queue that has rung is asked until it is empty. What comes into a queue without a
bell, put back by a worker that was lost, is found by a sweep now and then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

#: queues that were heard of and are remembered; the oldest are forgotten.
HEARD_COUNT = 10_000
#: bells of one queue whose senders can be told when it is not there.
TOLD_COUNT = 1_000
#: bytes of a queue's name. Source: AMQP 0-9-1, short string.
NAME_BYTES = 255


class Taker(Protocol):
    """Who takes messages."""

    def wake(self) -> None:
        """Have it look for its turn; any thread, returns at once."""
        ...


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A queue that is asked now.

    Args:
        queue: its name.
        rung_count: how often it had rung by then.
    """

    queue: str
    rung_count: int


class _Place:
    """What is known of one queue."""

    __slots__ = ("is_listed", "is_missing", "is_paused", "lost_calls", "owed_count", "rung_count")

    def __init__(self) -> None:
        self.is_listed = self.is_missing = self.is_paused = False
        #: bells in all, and those for which no message has been found yet.
        self.rung_count = self.owed_count = 0
        self.lost_calls: deque[Callable[[], None]] = deque(maxlen=TOLD_COUNT)


class Rota:
    """The queues that the takers of one bus share, in turn.

    Queues that have rung, or that have just given a message, take turns; so do those that a sweep doubts,
    each for one look. While there are both, they alternate: neither a long sweep nor busy queues hold up the
    other.

    Args:
        key: routing key, with wildcards, that the queues' names match; for people.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._lock = threading.Lock()
        self._places: dict[str, _Place] = {}
        self._live: dict[str, None] = {}
        self._doubtful: dict[str, None] = {}
        self._waiting: dict[Taker, None] = {}
        self._is_doubt_next = False
        self._met: object = None

    @property
    def known(self) -> list[str]:
        """Names of the queues that are known, whether or not they are there."""
        with self._lock:
            return list(self._places)

    def ring(self, queue: str, on_lost: Callable[[], None] | None = None) -> None:
        """Note that a message has come, or is about to.

        Args:
            queue: its queue.
            on_lost: called on the I/O thread when that turns out not to be there: then nobody else has the
                message, and its sender takes it for delivered, because the bell has got it.
        """
        with self._lock:
            place = self._place(queue)
            place.is_missing = False
            if on_lost is not None:
                place.lost_calls.append(on_lost)
            place.rung_count += 1
            place.owed_count += 1
            if not place.is_paused:
                self._live[queue] = None
                self._wake(1)

    def expect(self, queues: Iterable[str]) -> None:
        """Know these queues, whether or not they have rung; new ones are looked at."""
        wanted = {one for one in queues if one and len(one.encode()) <= NAME_BYTES}
        with self._lock:
            for name, place in self._places.items():
                place.is_listed = name in wanted
            new = sorted(wanted - self._places.keys())
            for name in new:
                self._place(name).is_listed = True
            self._doubt(new)

    def sweep(self) -> int:
        """Have every queue looked at that is not known to be missing; return how many these are."""
        with self._lock:
            there = [name for name, place in self._places.items() if not place.is_missing]
            self._doubt(there)
            return len(there)

    def meet(self, connection: object) -> None:
        """Have every queue looked at, if this connection is another one: nobody heard bells meanwhile."""
        with self._lock:
            if connection is not self._met:
                self._met = connection
                self._doubt(list(self._places))

    def doubt(self, queue: str) -> None:
        """Have one queue looked at."""
        with self._lock:
            if queue in self._places:
                self._doubt([queue])

    def pause(self, queue: str) -> None:
        """Take nothing from a queue until it is resumed."""
        with self._lock:
            self._place(queue).is_paused = True
            self._unmark(queue)

    def resume(self, queue: str) -> None:
        """Take from a queue again."""
        with self._lock:
            place = self._places.get(queue)
            if place is not None and place.is_paused:
                place.is_paused = False
                self._doubt([queue])

    # ---- for takers

    def take(self, taker: Taker) -> Turn | None:
        """Return whose turn it is; None while no queue may have a message: the taker is woken then."""
        with self._lock:
            self._waiting.pop(taker, None)
            marked = self._next_row()
            name = next(iter(marked), None)
            if name is None:
                self._waiting[taker] = None
                return None
            del marked[name]
            if marked is self._live:  # to the end of the row
                self._live[name] = None
            return Turn(name, self._places[name].rung_count)

    def _next_row(self) -> dict[str, None]:
        self._is_doubt_next = not self._is_doubt_next
        first, second = self._live, self._doubtful
        return (first or second) if self._is_doubt_next else (second or first)

    def leave(self, taker: Taker) -> None:
        """Wake a taker no more; if it had been woken, another is."""
        with self._lock:
            if self._waiting.pop(taker, self) is self and (self._live or self._doubtful):
                self._wake(1)

    def found(self, turn: Turn) -> None:
        """Note that the queue gave a message: it may have more."""
        with self._lock:
            place = self._places.get(turn.queue)
            if place is None:
                return
            place.owed_count = max(0, place.owed_count - 1)
            place.lost_calls.clear()
            if not place.is_paused:
                self._doubtful.pop(turn.queue, None)
                self._live[turn.queue] = None
                self._wake(1)

    def empty(self, turn: Turn) -> bool:
        """Note that the queue gave nothing.

        Returns:
            whether to doubt it once more shortly: it has rung for a message that nobody of ours has seen.
        """
        with self._lock:
            place = self._places.get(turn.queue)
            if place is None or place.rung_count != turn.rung_count:
                return False
            self._unmark(turn.queue)
            is_owing, place.owed_count = place.owed_count > 0, 0
            place.lost_calls.clear()
            return is_owing

    def missing(self, turn: Turn) -> list[Callable[[], None]]:
        """Note that there is no such queue, or none that we may read; return what to call for its bells."""
        with self._lock:
            place = self._places.get(turn.queue)
            if place is None:
                return []
            calls, place.owed_count = list(place.lost_calls), 0
            place.lost_calls.clear()
            self._unmark(turn.queue)
            place.is_missing = True
            if not place.is_listed and not place.is_paused:
                del self._places[turn.queue]
            return calls

    # ---- with the lock held

    def _place(self, queue: str) -> _Place:
        found = self._places.get(queue)
        if found is None:
            if len(self._places) >= HEARD_COUNT:
                self._forget_one()
            found = self._places[queue] = _Place()
        return found

    def _forget_one(self) -> None:
        kept = (one for one, place in self._places.items() if not (place.is_listed or place.is_paused))
        oldest = next(kept, None)
        if oldest is not None:
            self._unmark(oldest)
            del self._places[oldest]

    def _doubt(self, queues: Iterable[str]) -> None:
        new = [one for one in queues if one not in self._live and not self._places[one].is_paused]
        self._doubtful.update(dict.fromkeys(new))
        self._wake(len(new))

    def _unmark(self, queue: str) -> None:
        self._live.pop(queue, None)
        self._doubtful.pop(queue, None)

    def _wake(self, count: int) -> None:
        for taker in list(self._waiting)[:count]:
            del self._waiting[taker]
            taker.wake()

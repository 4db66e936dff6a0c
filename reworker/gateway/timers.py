"""Calls at their time, on one thread: ends of holds and leases, heartbeats, second looks."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable

from reworker.clock import Clock

_log = logging.getLogger(__name__)


#: calls that are kept at least before those that will not come are looked for.
LEAST_COUNT = 1000


class Timer:
    """One call to come; `cancel` may be called by any thread, also too late."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None]) -> None:
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Let the call not come, and let go of what it holds."""
        self.call = None


class Timers:
    """A heap of calls and the thread that makes them.

    `at` may be called by any thread. Without `start` nothing comes by itself: then `run_due` makes the calls.
    End of life: after `close` no call comes any more.

    Args:
        clock: tells the time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._clean_at_count = LEAST_COUNT
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="gateway timers", daemon=True)

    def start(self) -> None:
        """Begin to make the calls."""
        self._thread.start()

    def at(self, mono_s: float, call: Callable[[], None]) -> Timer:
        """Have a call made at a time of the monotonic clock, or at once when that is over."""
        timer = Timer(call)
        with self._changed:
            if len(self._heap) >= self._clean_at_count:
                self._clean()
            heapq.heappush(self._heap, (mono_s, next(self._order), timer))
            if self._heap[0][2] is timer:
                self._changed.notify()
        return timer

    def _clean(self) -> None:
        """Forget calls that will not come: those of a lease that ended at once may be due in a day."""
        self._heap = [one for one in self._heap if one[2].call is not None]
        heapq.heapify(self._heap)
        self._clean_at_count = max(LEAST_COUNT, 2 * len(self._heap))

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Have a call made so many seconds from now."""
        return self.at(self._clock.mono_s() + seconds, call)

    def run_due(self) -> int:
        """Make the calls that are due; return how many there were."""
        count = 0
        while (call := self._next_due()) is not None:
            count += 1
            try:
                call()
            except Exception:  # noqa: BLE001  top of the thread: nobody else keeps the time
                _log.exception("a call at its time failed: %r", call)
        return count

    def _next_due(self) -> Callable[[], None] | None:
        with self._changed:
            while self._heap and (self._heap[0][0] <= self._clock.mono_s() or self._heap[0][2].call is None):
                call = heapq.heappop(self._heap)[2].call
                if call is not None:
                    return call
        return None

    def _run(self) -> None:
        while self._wait():
            self.run_due()

    def _wait(self) -> bool:
        """Wait until something is due; tell whether there is anything to do yet."""
        with self._changed:
            left_s = self._heap[0][0] - self._clock.mono_s() if self._heap else None
            if not self._is_closed and (left_s is None or left_s > 0):
                self._changed.wait(left_s)
            return not self._is_closed

    def close(self) -> None:
        """End. Safe twice."""
        with self._changed:
            self._is_closed = True
            self._heap.clear()
            self._changed.notify()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

"""How many steps of a task type may be handed out now: those at once, and those in a stretch of time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from reworker.clock import Clock
from reworker.gateway.contract import TaskRules

#: stands for without limit.
UNLIMITED_COUNT = 1 << 30


class Quota:
    """Counts for all domains of one task type; its users hold a lock.

    Args:
        clock: for the rate.
    """

    def __init__(self, clock: Clock) -> None:
        self.rules = TaskRules()
        #: called when there may be room again: once for each lane of the type.
        self.on_room: list[Callable[[], None]] = []
        self._clock = clock
        self._leased_count = 0
        self._offered_mono_s: deque[float] = deque()

    def room_count(self) -> int:
        """Return how many steps may be handed out now."""
        rules, room_count = self.rules, UNLIMITED_COUNT
        if rules.concurrent_count:
            room_count = rules.concurrent_count - self._leased_count
        if rules.rate_count:
            self._forget_old()
            room_count = min(room_count, rules.rate_count - len(self._offered_mono_s))
        return max(0, room_count)

    def next_mono_s(self) -> float | None:
        """Return when the rate lets another one through; None is not its doing."""
        if not self.rules.rate_count or len(self._offered_mono_s) < self.rules.rate_count:
            return None
        return self._offered_mono_s[0] + self.rules.rate_s

    def take(self) -> None:
        """Count a step that is handed out."""
        self._leased_count += 1
        if self.rules.rate_count:
            self._offered_mono_s.append(self._clock.mono_s())

    def end(self) -> None:
        """Count a step whose lease is over."""
        self._leased_count -= 1

    def _forget_old(self) -> None:
        oldest_mono_s = self._clock.mono_s() - self.rules.rate_s
        while self._offered_mono_s and self._offered_mono_s[0] <= oldest_mono_s:
            self._offered_mono_s.popleft()

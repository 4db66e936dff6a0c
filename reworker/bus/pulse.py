"""Whether the I/O thread still gets round to its work: it is asked for a sign of life now and then."""

from __future__ import annotations

from collections.abc import Callable

from reworker.clock import Clock

#: seconds between two questions: who asks for the state often must not wake the thread as often.
EVERY_S = 1.0


class Pulse:
    """Asks by a call on the thread and measures how long the answer takes; any thread.

    Args:
        clock: measures.
        call_soon: runs a call on the thread.
    """

    def __init__(self, clock: Clock, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self._clock, self._call_soon = clock, call_soon
        self._asked_mono_s = float("-inf")
        self._is_owed = False

    def lag_s(self) -> float:
        """Return for how many seconds the thread has owed an answer; ask again if it is time."""
        now_s = self._clock.mono_s()
        if self._is_owed:
            return now_s - self._asked_mono_s
        if now_s - self._asked_mono_s >= EVERY_S:
            self._asked_mono_s, self._is_owed = now_s, True
            self._call_soon(self._answer)
        return 0.0

    def _answer(self) -> None:
        self._is_owed = False

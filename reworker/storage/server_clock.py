"""The clock of a database server, which all cores on it share, as seen from this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from reworker.clock import Clock
from reworker.errors import StorageError

#: seconds after which the server is asked again: two machines part by a few parts in a million, and an
#: administrator may set the server's clock. After a failure it is asked sooner.
ASK_AGAIN_S, ASK_AFTER_FAILURE_S = 10.0, 1.0


class ServerClock:
    """Asks now and then; between two questions it counts on the monotonic clock.

    So a jump of this machine's wall clock changes nothing. Any thread may use it.

    Args:
        clock: of this machine.
        ask: returns the server's time.

    Raises:
        StorageError: the first question has no answer.
    """

    def __init__(self, clock: Clock, ask: Callable[[], datetime]) -> None:
        self._clock, self._ask = clock, ask
        ask()  # the first answer comes late, after the connection is made
        self._known = self._measured()
        self._ask_at_mono_s = clock.mono_s() + ASK_AGAIN_S

    def offset_s(self) -> float:
        """Return what to add to this machine's wall clock; never raises."""
        if self._clock.mono_s() >= self._ask_at_mono_s:
            # First of all, so that no second thread asks as well.
            self._ask_at_mono_s = self._clock.mono_s() + ASK_AGAIN_S
            try:
                self._known = self._measured()
            except StorageError:
                self._ask_at_mono_s = self._clock.mono_s() + ASK_AFTER_FAILURE_S
        at, mono_s = self._known
        return (at - self._clock.now()).total_seconds() + self._clock.mono_s() - mono_s

    def _measured(self) -> tuple[datetime, float]:
        before_mono_s = self._clock.mono_s()
        at = self._ask()
        return at, (before_mono_s + self._clock.mono_s()) / 2

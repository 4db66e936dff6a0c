"""Looks at a broker every now and then while somebody is interested, and remembers the last look."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from reworker.clock import Clock
from reworker.core.bus_look import BusLook

logger = logging.getLogger(__name__)

#: seconds between two looks; without a question after which nobody looks any more.
EVERY_S, REST_S = 1.5, 20.0
#: seconds after the end of a rest for which who asks waits for the first answer.
FIRST_S = 1.5


class Watch(Protocol):
    """What looks; see `bus_watch.BusWatch`."""

    def look(self) -> BusLook:
        """Return how it is now."""
        ...

    def close(self) -> None:
        """End the connections."""
        ...


class LateWatch:
    """A watch that is made when somebody looks: until then a server does without the AMQP client.

    One thread.

    Args:
        make: makes it.
    """

    def __init__(self, make: Callable[[], Watch]) -> None:
        self._make = make
        self._made: Watch | None = None

    def look(self) -> BusLook:
        """Return how it is now."""
        self._made = self._made or self._make()
        return self._made.look()

    def close(self) -> None:
        """End the connections."""
        if self._made is not None:
            self._made.close()


class BusPoller:
    """Has a thread look while somebody asks; any thread may ask, and never waits for a broker for long.

    End of life: `close`.

    Args:
        watch: looks; is used by one thread at a time, and closed when nobody asks any more.
        clock: for how long nobody has asked.
        first: what is said before the first look.
        every_s: seconds between two looks.
        rest_s: seconds without a question after which it rests.
    """

    def __init__(
        self, watch: Watch, clock: Clock, first: BusLook, *, every_s: float = EVERY_S, rest_s: float = REST_S
    ) -> None:
        self._watch, self._clock, self._last = watch, clock, first
        self._every_s, self._rest_s = every_s, rest_s
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._asked_mono_s = self._begun_mono_s = 0.0
        self._is_fresh = self._is_closed = False

    @property
    def is_resting(self) -> bool:
        """Whether nobody looks at the moment."""
        with self._changed:
            return self._thread is None

    def look(self, first_s: float = FIRST_S) -> BusLook:
        """Return the last look; after a rest wait a moment for a new one.

        Args:
            first_s: seconds that may have passed since the end of the rest.
        """
        with self._changed:
            now_mono_s = self._asked_mono_s = self._clock.mono_s()
            if self._thread is None and not self._is_closed:
                self._is_fresh, self._begun_mono_s = False, now_mono_s
                self._thread = threading.Thread(target=self._run, name="bus poller", daemon=True)
                self._thread.start()
            left_s = max(0.0, self._begun_mono_s + first_s - now_mono_s)
            self._changed.wait_for(lambda: self._is_fresh or self._is_closed, left_s)
            return self._last

    def close(self, *, deadline_s: float = 5.0) -> None:
        """End the looks. Safe twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(deadline_s)

    def _run(self) -> None:
        try:
            while not self._is_at_rest():
                while not self._is_over():
                    self._look()
                self._watch.close()
        except Exception:  # top of the thread; the next question starts another one
            logger.exception("looking at the broker has ended")
            self._watch.close()
            with self._changed:
                self._thread = None

    def _look(self) -> None:
        look = self._watch.look()
        with self._changed:
            self._last, self._is_fresh = look, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_closed, self._every_s)

    def _is_at_rest(self) -> bool:
        """Tell whether nobody has asked while the connections were closed; then the thread is gone."""
        with self._changed:
            is_over = self._is_over()
            self._is_fresh = False
            if is_over:
                self._thread = None
            return is_over

    def _is_over(self) -> bool:
        with self._changed:
            return self._is_closed or self._clock.mono_s() - self._asked_mono_s > self._rest_s

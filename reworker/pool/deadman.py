"""Ends this process when its own watch cannot: code in C may hold the interpreter's lock for hours.

The interpreter's fault handler has a timer in C that needs no lock. It writes the stacks of all threads to
stderr and ends the process with code 1.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import sys

from reworker.clock import Clock

#: seconds that the watch gets to act before the timer does.
SLACK_S = 3.0
#: seconds by which the moment may move before the timer is set again.
STEP_S = 1.0


class Deadman:
    """The timer of this process; there is one for all, so only the owner of the process may use it.

    Args:
        clock: for moments.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._set_mono_s: float | None = None

    def expect(self, deadline_mono_s: float | None) -> None:
        """End the process when it is still there some time after this moment; None is never."""
        if deadline_mono_s is None:
            self.close()
            return
        if self._set_mono_s is not None and abs(deadline_mono_s - self._set_mono_s) < STEP_S:
            return
        self._set_mono_s = deadline_mono_s
        left_s = max(deadline_mono_s - self._clock.mono_s(), 0.0) + SLACK_S
        with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):  # stderr is no file
            faulthandler.dump_traceback_later(left_s, exit=True, file=sys.stderr)

    def close(self) -> None:
        """Expect nothing. Safe twice."""
        if self._set_mono_s is not None:
            self._set_mono_s = None
            faulthandler.cancel_dump_traceback_later()

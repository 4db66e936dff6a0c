"""One place for a process in a host: when it is started, and again after an end. No process, no clock."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable

from reworker import backoff
from reworker.pool.states import REPLACE_EXIT_CODE

#: seconds before a process that has ended is started again: at first, and at most.
RETRY_BASE_S, RETRY_CAP_S = 0.2, 30.0
#: seconds after which a process counts as well: what came before is forgiven.
WELL_S = 60.0
#: seconds that a process may need on top of its drain: for jobs to notice, the last confirms and goodbyes.
MARGIN_S = 15.0
#: seconds that a process may live on without its pipe; one that ends closes it a moment before.
MUTE_S = 2.0


class Phase(enum.StrEnum):
    """Where a slot stands."""

    #: is started when its time has come.
    WAITING = "waiting"
    RUNNING = "running"
    #: was told to stop.
    DRAINING = "draining"
    #: has ended and stays so.
    STOPPED = "stopped"


class Slot:
    """The life of the processes that follow one another in one place.

    Args:
        name: for people, such as ``sleep`` or ``sleep.2``.
        drain_s: seconds that its running jobs may take at a stop; its process may say that this has changed.
        rand: returns a float in [0, 1); randomness of pauses.
    """

    def __init__(self, name: str, drain_s: float, rand: Callable[[], float]) -> None:
        self.name = name
        self.phase = Phase.WAITING
        self.pid = 0
        self.failed_count = 0
        #: whether what is due is the replacement of a process that can report nothing any more.
        self.is_mute = False
        #: next moment at which something is due: a start, or the end of the drain.
        self.due_mono_s = 0.0
        self.drain_s, self._rand = drain_s, rand
        self._started_mono_s = 0.0

    def is_due(self, now_mono_s: float) -> bool:
        """Tell whether it is to be started now."""
        return self.phase is Phase.WAITING and now_mono_s >= self.due_mono_s

    def is_overdue(self, now_mono_s: float) -> bool:
        """Tell whether its process was told to end and has taken too long."""
        return bool(self.pid) and now_mono_s >= self.due_mono_s

    def started(self, pid: int, now_mono_s: float) -> None:
        """Note that a process was started."""
        self.phase, self.pid, self._started_mono_s = Phase.RUNNING, pid, now_mono_s
        self.due_mono_s, self.is_mute = float("inf"), False

    def stop(self, now_mono_s: float) -> bool:
        """Let nothing be started any more; return whether a process is there that has to be told."""
        self.is_mute = False
        if self.phase is Phase.RUNNING:
            self.phase, self.due_mono_s = Phase.DRAINING, now_mono_s + self.drain_s + MARGIN_S
            return True
        if self.phase is Phase.WAITING:
            self.phase = Phase.STOPPED
        return False

    def mute(self, now_mono_s: float) -> None:
        """Note that its process has closed its pipe: unless it ends soon, its descriptors are gone."""
        if self.phase is Phase.RUNNING and self.due_mono_s == float("inf"):
            self.is_mute, self.due_mono_s = True, now_mono_s + MUTE_S

    def replace(self, now_mono_s: float) -> bool:
        """Have another process take the place of a running one; return whether that has to be told."""
        if self.phase is not Phase.RUNNING or not (self.is_mute or self.due_mono_s == float("inf")):
            return False
        self.is_mute = False
        self.due_mono_s = now_mono_s + self.drain_s + MARGIN_S
        return True

    def ended(self, code: int, now_mono_s: float) -> str:
        """Note that its process has ended, and return in words what follows.

        Args:
            code: its exit code; negative for a signal.
            now_mono_s: the time.
        """
        age_s = now_mono_s - self._started_mono_s
        what, self.pid = f"ended with {words_of(code)} after {age_s:.1f} s", 0
        if self.phase is Phase.DRAINING:
            self.phase = Phase.STOPPED
            return "stopped" if code == 0 else what
        self.phase, self.due_mono_s = Phase.WAITING, now_mono_s
        if code == REPLACE_EXIT_CODE:
            return f"{what}, and is replaced"
        return f"{what}; again in {self._postpone(age_s):.1f} s"

    def failed(self, now_mono_s: float) -> float:
        """Note that no process could be started; return for how many seconds to wait."""
        self.due_mono_s = now_mono_s
        return self._postpone(0.0)

    def _postpone(self, age_s: float) -> float:
        self.failed_count = 1 if age_s >= WELL_S else self.failed_count + 1
        pause_s = backoff.delay_s(self.failed_count, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rand=self._rand)
        self.due_mono_s += pause_s
        return pause_s


def words_of(code: int) -> str:
    """Return an exit code in words; negative is a signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"

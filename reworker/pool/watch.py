"""The timer of a process: heartbeats, time limits and long jobs of its instances, on one thread."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Sequence

from reworker.errors import JobTimeout
from reworker.jobs.attempt import Attempt
from reworker.messages import Reply
from reworker.pool.children import children_of_thread, end_trees
from reworker.pool.instance import LONG_JOB_S, Instance
from reworker.pool.stacks import job_of, log_stacks

#: seconds between two looks at the running jobs.
TICK_S = 0.2
#: share of a job's time limit after which its stack is logged.
WARNING_SHARE = 0.8
#: seconds a job has after its limit, before the process ends with it; unless `hard_timeout_s` says otherwise.
HARD_GRACE_S = 10.0
#: seconds between two heartbeats of a job whose message may be with another worker, for the connection was
#: lost: the core may have given it up, and says so to whom it hears.
CUT_BEAT_S = 2.0
#: seconds between SIGTERM and SIGKILL for what a job has started.
CHILD_GRACE_S = 2.0

_log = logging.getLogger(__name__)


class Watch:
    """Looks at what the instances perform, five times a second.

    Args:
        instances: to look at.
        on_overrun: called for a job that has not ended at its hard limit, once.
        duties: called at each look, after the instances.
        tick_s: seconds between two looks.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        on_overrun: Callable[[Instance, Attempt], None],
        duties: Sequence[Callable[[], None]] = (),
        tick_s: float = TICK_S,
    ) -> None:
        self.vigils = [Vigil(one, on_overrun) for one in instances]
        self._duties, self._tick_s = duties, tick_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End. Safe twice."""
        self._end.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def next_hard_limit_mono_s(self) -> float | None:
        """Return when the first of the running jobs has to be over; None is not said."""
        limits = [one.hard_limit_mono_s() for one in self.vigils]
        return min((one for one in limits if one is not None), default=None)

    def _run(self) -> None:
        while not self._end.wait(self._tick_s):
            for look in (*(one.look for one in self.vigils), *self._duties):
                try:
                    look()
                except Exception:  # noqa: BLE001  top of the thread: nobody else keeps time limits
                    _log.exception("a look at the running jobs failed once")


class Vigil:
    """What is due, and what has been done, about the job that one instance performs; only on one thread.

    Args:
        instance: to look at.
        on_overrun: see `Watch`.
    """

    def __init__(self, instance: Instance, on_overrun: Callable[[Instance, Attempt], None]) -> None:
        self.instance, self._on_overrun = instance, on_overrun
        self._attempt: Attempt | None = None
        self._has_warned = self._has_overrun = False
        self._kill_at_mono_s: float | None = None
        self._reconnect_count = 0

    def look(self) -> None:
        """Do what is due."""
        attempt: Attempt | None = self.instance.station.current
        if attempt is not self._attempt:
            self._attempt, self._has_warned, self._has_overrun = attempt, False, False
            self._kill_at_mono_s = None
            self._reconnect_count = self.instance.reconnect_count
        if attempt is None:
            return
        now = self.instance.station.clock.mono_s()
        age_s = now - attempt.started_mono_s
        if age_s >= LONG_JOB_S:
            self.instance.slow_down()
            self.instance.ack_when_due(age_s)
        self._keep_limits(attempt, now, age_s)
        if attempt.is_cancelled or attempt.interrupt.fired is not None:
            self._end_children(now)
        _beat(attempt, now, was_cut=self.instance.reconnect_count != self._reconnect_count)

    def hard_limit_mono_s(self) -> float | None:
        """Return when the running job has to be over; None is not said."""
        attempt, limit_s = self._attempt, self._hard_limit_s()
        return None if attempt is None or limit_s is None else attempt.started_mono_s + limit_s

    def _hard_limit_s(self) -> float | None:
        own_s = self.instance.station.settings.hard_timeout_s
        if own_s is not None or self._attempt is None or self._attempt.timeout_s is None:
            return own_s
        return self._attempt.timeout_s + HARD_GRACE_S

    def _keep_limits(self, attempt: Attempt, now_mono_s: float, age_s: float) -> None:
        hard_s = self._hard_limit_s()
        soft_s = attempt.timeout_s if attempt.timeout_s is not None else hard_s
        if soft_s is None or hard_s is None:
            return
        if age_s >= WARNING_SHARE * min(soft_s, hard_s) and not self._has_warned:
            self._has_warned = True
            text = f"nearly over its limit of {min(soft_s, hard_s):g} s: {job_of(self.instance)}"
            log_stacks(self.instance.worker.app_logger, [self.instance], text, is_all=False)
        if attempt.timeout_s is not None and age_s >= attempt.timeout_s:
            attempt.time_out(JobTimeout)
        if age_s >= hard_s and not self._has_overrun:
            self._has_overrun = True
            self._on_overrun(self.instance, attempt)

    def _end_children(self, now_mono_s: float) -> None:
        """End what the job has started: it may wait for that, and nothing else would wake it."""
        children = children_of_thread(self.instance.thread.native_id)
        if self._kill_at_mono_s is None:
            self._kill_at_mono_s = now_mono_s + CHILD_GRACE_S
            end_trees(children, signal.SIGTERM)
        elif now_mono_s >= self._kill_at_mono_s:
            end_trees(children, signal.SIGKILL)


def _beat(attempt: Attempt, now_mono_s: float, *, was_cut: bool) -> None:
    every_s = attempt.headers.heartbeat_s if attempt.headers is not None else None
    if every_s is None:
        return
    every_s = min(every_s, CUT_BEAT_S) if was_cut else every_s
    last_mono_s = attempt.last_heartbeat_mono_s or attempt.started_mono_s
    if now_mono_s - last_mono_s >= every_s and not attempt.final_status:
        attempt.last_heartbeat_mono_s = now_mono_s
        attempt.reply(Reply("running"))

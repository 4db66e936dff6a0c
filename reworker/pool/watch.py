"""The timer of a process: heartbeats, time limits and long jobs of its instances, on one thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from reworker.errors import JobTimeout, ReworkerError
from reworker.jobs.attempt import Attempt
from reworker.messages import Reply
from reworker.pool.instance import LONG_JOB_S, Instance

#: seconds between two looks at the running jobs.
TICK_S = 0.2

_log = logging.getLogger(__name__)


class Watch:
    """Looks at what the instances perform, five times a second.

    Args:
        instances: to look at.
        tick_s: seconds between two looks.
    """

    def __init__(self, instances: Sequence[Instance], tick_s: float = TICK_S) -> None:
        self._instances, self._tick_s = instances, tick_s
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

    def _run(self) -> None:
        while not self._end.wait(self._tick_s):
            for instance in self._instances:
                try:
                    look_at(instance)
                except ReworkerError:
                    _log.exception("the watch over %s failed once", instance.thread.name)


def look_at(instance: Instance) -> None:
    """Do what is due for the job that an instance performs."""
    attempt: Attempt | None = instance.station.current
    if attempt is None:
        return
    now = instance.station.clock.mono_s()
    age_s = now - attempt.started_mono_s
    if age_s >= LONG_JOB_S:
        instance.slow_down()
    if attempt.timeout_s is not None and age_s >= attempt.timeout_s:
        attempt.time_out(JobTimeout)
    _beat(attempt, now)


def _beat(attempt: Attempt, now_mono_s: float) -> None:
    every_s = attempt.headers.heartbeat_s if attempt.headers is not None else None
    if every_s is None:
        return
    last_mono_s = attempt.last_heartbeat_mono_s or attempt.started_mono_s
    if now_mono_s - last_mono_s >= every_s and not attempt.final_status:
        attempt.last_heartbeat_mono_s = now_mono_s
        attempt.reply(Reply("running"))

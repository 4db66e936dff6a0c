"""Asks a worker that overrides `paused()` once a second, and lets its process take no new tasks meanwhile."""

from __future__ import annotations

import logging
import threading

from reworker.conductor.adapter import Adapter, Style, is_paused
from reworker.conductor.functions import Worker
from reworker.conductor.workers import WorkerAbc

#: seconds between two questions.
LOOK_S = 1.0
logger = logging.getLogger(__name__)


def may_pause(style: Style) -> bool:
    """Tell whether a worker has a `paused()` of its own; those of ours always say the same."""
    return getattr(type(style), "paused", None) not in (WorkerAbc.paused, Worker.paused)


class PauseWatch:
    """Follows what a worker says of itself; an order from outside to pause is only overruled by a change.

    Threads: its own; it ends with the process.

    Args:
        adapter: first of its process; it has a pool when that runs.
        was_paused: what the worker said when the process began.
    """

    def __init__(self, adapter: Adapter, was_paused: bool) -> None:
        self._adapter, self._was_paused = adapter, was_paused
        self._waiting = threading.Event()

    def start(self) -> None:
        """Begin to ask."""
        threading.Thread(target=self._run, name=f"pause of {self._adapter.task_type}", daemon=True).start()

    def _run(self) -> None:
        while not self._waiting.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Ask once, and obey a change."""
        pool = self._adapter._pool
        try:
            now = is_paused(self._adapter.style)
        except Exception:  # foreign code: it must not end the watch
            logger.exception("paused() of %s failed; nothing changes", self._adapter.task_type)
            return
        if pool is None or now == self._was_paused:
            return
        self._was_paused = now
        logger.info("%s: %s by its own paused()", self._adapter.task_type, "paused" if now else "resumed")
        (pool.quiet if now else pool.resume)()

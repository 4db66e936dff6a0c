"""Schedules: made, changed, cancelled; and the tasks that they make when their time has come."""

from __future__ import annotations

from reworker.clock import Clock
from reworker.core.tasks.queue import Tasks
from reworker.storage.contract import Storage


class Schedules:
    """Schedules of all projects; any thread, any process."""

    def __init__(self, storage: Storage, clock: Clock, tasks: Tasks) -> None:
        self._storage, self._clock, self._tasks = storage, clock, tasks

    def fire(self) -> int:
        """Make the tasks of schedules that are due; return how many schedules were."""
        return 0

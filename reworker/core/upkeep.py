"""What a core does beside its work: it says that it is alive, and deletes what ended long ago."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

import msgspec

from reworker import __version__
from reworker.clock import Clock
from reworker.core import history
from reworker.core.counters import Counters
from reworker.core.tasks.tidying import prune_tasks, remove_packages
from reworker.errors import StorageError
from reworker.fsm.states import DeploymentStatus
from reworker.storage.contract import InstanceRow, LogStore, Reader, Storage

logger = logging.getLogger(__name__)

#: seconds between two beats of a core; only for display.
BEAT_S = 10.0
#: seconds between two turns, and between two searches for deployments to delete.
TURN_S, SEARCH_S = 1.0, 600.0
#: events deleted in one transaction at most, so that no reply waits for it.
PRUNE_EVENT_COUNT = 1000
#: chunks of output deleted in one transaction at most; a chunk is what arrived at once.
PRUNE_CHUNK_COUNT = 50
#: entries of the audit deleted in one transaction at most.
PRUNE_AUDIT_COUNT = 1000
#: seconds of room for others after each of these transactions at least; else as long as it took.
ROOM_S = 0.002
#: open deployments whose history is replayed after a start.
REPLAY_COUNT = 1000
#: states in which something can still happen.
OPEN_STATUSES = tuple(one for one in DeploymentStatus if not one.is_terminal)


def open_ids(reader: Reader, limit: int) -> list[str]:
    """Return the ids of deployments that have not ended, the newest of each status first."""
    rows = (row for status in OPEN_STATUSES for row in reader.deployments(limit=limit, status=status))
    return [row.id for row in islice(rows, limit)]


def prune(
    storage: Storage,
    logs: LogStore,
    clock: Clock,
    keep_days: float,
    *,
    pause: Callable[[float], object],
) -> list[str]:
    """Delete some of the deployments that ended longer ago than this; return their ids, none when done.

    Their lines of output go first: should the rest fail, nothing is left that nobody would ever delete. It
    takes many short transactions, and whoever wants to write meanwhile gets half of the time; `pause` waits
    for so many seconds.
    """
    with storage.begin() as unit:
        ids = unit.ended(clock.now() - timedelta(days=keep_days), PRUNE_EVENT_COUNT)
    for own_id in ids:
        is_more = True
        while is_more:
            with _leaving_room(clock, pause):
                is_more = logs.remove(own_id, limit=PRUNE_CHUNK_COUNT)
    if not ids:
        return []
    with _leaving_room(clock, pause), storage.begin() as unit:
        return unit.prune(ids)


@contextmanager
def _leaving_room(clock: Clock, pause: Callable[[float], object]) -> Iterator[None]:
    """Wait after a transaction as long as it took: who waits for a file of SQLite looks only now and then."""
    begin_mono_s = clock.mono_s()
    yield
    pause(max(ROOM_S, clock.mono_s() - begin_mono_s))


class Kept(msgspec.Struct, frozen=True):
    """For how many days what is kept; 0 is for ever.

    Args:
        days: deployments, after their end.
        audit_days: entries of the audit.
    """

    days: float = 0
    audit_days: float = 0


class Upkeep:
    """Works on a thread of its own, seldom; nothing depends on it.

    Args:
        name: of this core.
        kept: for how long.
        is_quiet: tells whether the core has nothing else to do.
    """

    def __init__(
        self,
        storage: Storage,
        logs: LogStore,
        clock: Clock,
        counters: Counters,
        *,
        name: str,
        kept: Kept,
        is_quiet: Callable[[], bool],
    ) -> None:
        self._storage, self._logs, self._clock, self._counters = storage, logs, clock, counters
        self._name, self._kept, self._is_quiet = name, kept, is_quiet
        self._started_at = clock.now()
        self._beat_at_mono_s = self._search_at_mono_s = clock.mono_s()
        self._audit_at_mono_s = self._packages_at_mono_s = clock.mono_s()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until `stop`; the body of the thread."""
        try:
            self.replay_open()
        except Exception:  # it only looks; the core runs without it
            logger.exception("the histories of open deployments could not be checked")
        while not self._stopping.wait(TURN_S):
            try:
                self.turn()
            except StorageError as error:
                logger.warning("upkeep waits for the database: %s", error)
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("upkeep met an error of its own; it goes on")

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    def turn(self) -> None:
        """Beat and prune if it is time."""
        now_mono_s = self._clock.mono_s()
        if now_mono_s >= self._beat_at_mono_s:
            self._beat_at_mono_s = now_mono_s + BEAT_S
            with self._storage.begin() as unit:
                unit.beat(self.instance())
        if self._kept.days and now_mono_s >= self._search_at_mono_s and self._is_quiet():
            ids = prune(self._storage, self._logs, self._clock, self._kept.days, pause=self._stopping.wait)
            self._counters.add("deployments_pruned", len(ids))
            if not ids:
                self._search_at_mono_s = now_mono_s + SEARCH_S
                before = self._clock.now() - timedelta(days=self._kept.days)
                self._counters.add("tasks_pruned", prune_tasks(self._storage, before, pause=self._pause))
        if self._kept.audit_days and now_mono_s >= self._audit_at_mono_s and self._is_quiet():
            self._prune_audit(now_mono_s)

        if now_mono_s >= self._packages_at_mono_s and self._is_quiet():
            self._packages_at_mono_s = now_mono_s + SEARCH_S
            count = remove_packages(self._storage, self._clock.now(), pause=self._pause)
            self._counters.add("packages_removed", count)

    def _pause(self) -> None:
        self._stopping.wait(ROOM_S)

    def _prune_audit(self, now_mono_s: float) -> None:
        """Delete the oldest entries of the audit, some in each turn."""
        before = self._clock.now() - timedelta(days=self._kept.audit_days)
        with self._storage.begin() as unit:
            count = unit.drop_audit(before, PRUNE_AUDIT_COUNT)
        self._counters.add("audit_pruned", count)
        if count < PRUNE_AUDIT_COUNT:
            self._audit_at_mono_s = now_mono_s + SEARCH_S

    def replay_open(self) -> None:
        """Replay what is open and say what is wrong, slowly: the core is busy taking it up again."""
        for own_id in open_ids(self._storage.reader, REPLAY_COUNT):
            if self._stopping.wait(0.001):
                return
            for problem in history.problems(self._storage.reader, own_id):
                self._counters.add("history_problems")
                logger.error("deployment %s: %s; see `reworker doctor`", own_id, problem)

    def instance(self) -> InstanceRow:
        """Return what is noted of this core while it is alive."""
        return InstanceRow(
            name=self._name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            started_at=self._started_at,
            beat_at=self._clock.now(),
        )

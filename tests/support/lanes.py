"""Lanes of the drill side by side, each on a virtual host and a database of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from reworker.bus.inspection import queue_counts
from reworker.cli.drill import PRELOADED, QUEUES, run_command
from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.service import Service
from reworker.drill.drill import CONNECTION_COUNTS, Drill, Report
from reworker.drill.frames import FrameFault, FrameProxy, Harm, Side
from reworker.drill.lane import Lane, Site
from reworker.drill.lives import Nursery
from reworker.drill.truth import Problem, messages_left
from tests.support.waiting import wait_until

#: frames in a row that were never reached: the session has ended before them.
ENOUGH_MISSES = 2


#: seconds in which workers that run settle what is left for them.
SETTLE_S = 15.0


def is_settled(url: str) -> bool:
    """Tell whether nothing waits in the queues of a drill."""
    return not any(one.message_count for one in queue_counts(mq_settings(url), QUEUES).values())


class Lanes:
    """Opens lanes and closes what they stand on; use as a context manager.

    Args:
        new_url: gives the URL of a fresh virtual host.
        folder: for files of databases, marks and what the processes say.
        new_db: gives the URL of an empty database; None is a file.
    """

    def __init__(
        self, new_url: Callable[[], str], folder: Path, new_db: Callable[[], str] | None = None
    ) -> None:
        self._new_url, self._folder, self._new_db = new_url, folder, new_db
        self._nursery = Nursery(run_command, PRELOADED)
        self._stack = ExitStack()
        self._numbers = itertools.count()
        self._opened: list[tuple[Lane, str]] = []

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def opened(self) -> list[Lane]:
        """Every lane so far."""
        return [lane for lane, _ in self._opened]

    def open(self, count: int, *, has_partner: bool = False) -> Drill:
        """Open lanes that go straight to the broker, each with one core or with two."""
        for _ in range(count):
            self._open("", "", has_partner=has_partner)
        return Drill(self.opened)

    def open_behind_proxy(self, role: str) -> tuple[Lane, FrameProxy]:
        """Open a lane whose core or worker goes through a proxy; any thread."""
        url = self._new_url()
        proxy = self._stack.enter_context(FrameProxy(url))
        return self._open(role, proxy.url, url), proxy

    def _open(self, role: str, via: str, url: str = "", *, has_partner: bool = False) -> Lane:
        url = url or self._new_url()
        folder = self._folder / f"lane-{next(self._numbers)}"
        folder.mkdir()
        db = self._new_db() if self._new_db else f"sqlite:///{folder / 'reworker.db'}"
        storage, logs = self._stack.enter_context(opened_storage(db))
        ways = {"core": "", "worker": "", role: via}
        site = Site(
            mq=url,
            db=db,
            folder=folder,
            storage=storage,
            service=Service(storage, logs, SystemClock()),
            core_mq=ways["core"],
            worker_mq=ways["worker"],
        )
        lane = Lane(self._nursery, site, folder.name, has_partner=has_partner)
        self._stack.callback(lane.kill)
        lane.open()
        self._opened.append((lane, url))
        return lane

    def finish(self, drill: Drill | None = None) -> Report:
        """Stop every process in good order, and judge."""
        left: list[Problem] = []
        for lane, url in self._opened:
            # a step that was delivered again, though it was answered, is settled by the worker before it goes
            with suppress(TimeoutError):
                wait_until(partial(is_settled, url), SETTLE_S, poll_s=0.2)
            lane.close()
            counts = queue_counts(mq_settings(url), QUEUES)
            left += messages_left({name: found.message_count for name, found in counts.items()})
        return (drill or Drill(self.opened)).report(left)


def harm_frames(
    lanes: Lanes, role: str, side: Side, numbers: Sequence[int], harms: Sequence[tuple[Harm, float]]
) -> int:
    """Harm a connection at these frames, one deployment for each, until they are beyond its end.

    Args:
        lanes: one more is opened.
        role: whose connection.
        side: of the connection.
        numbers: of frames, ascending.
        harms: what to do and for how many seconds, in turn.

    Returns:
        how many were reached.
    """
    lane, proxy = lanes.open_behind_proxy(role)
    hit_count = miss_count = 0
    for turn, number in enumerate(numbers):
        harm, hold_s = harms[turn % len(harms)]
        is_hit = lane.harm(proxy, FrameFault(side, number, harm, hold_s), CONNECTION_COUNTS[role])
        hit_count, miss_count = hit_count + is_hit, 0 if is_hit else miss_count + 1
        if miss_count == ENOUGH_MISSES or lane.problems:
            break
    return hit_count


def _harm_job(lanes: Lanes, harms: Sequence[tuple[Harm, float]], job: tuple[str, Side, Sequence[int]]) -> int:
    role, side, numbers = job
    return harm_frames(lanes, role, side, numbers, harms)


def harm_everywhere(
    lanes: Lanes,
    first: int,
    step: int,
    harms: Sequence[tuple[Harm, float]],
    *,
    limit: int = 1000,
    share: int = 1,
) -> dict[tuple[str, Side], int]:
    """Harm core's and worker's connections in both directions, side by side; return how many were reached.

    Args:
        lanes: two or more are opened for each role.
        first: frame to begin with.
        step: distance between two frames that are harmed.
        harms: see `harm_frames`.
        limit: frame to end before.
        share: lanes for each role and side, which take turns.
    """
    jobs = [
        (role, side, range(first + step * turn, limit, step * share))
        for role in CONNECTION_COUNTS
        for side in Side
        for turn in range(share)
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        counts = list(pool.map(partial(_harm_job, lanes, harms), jobs))
    found: dict[tuple[str, Side], int] = {}
    for (role, side, _), count in zip(jobs, counts, strict=True):
        found[role, side] = found.get((role, side), 0) + count
    return found

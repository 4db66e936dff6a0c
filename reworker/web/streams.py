"""Who follows deployments, and one look at the database for all of them: streams read what has changed.

All of it lives on the server's event loop; only the looks themselves run on threads.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Protocol

import msgspec
from starlette.concurrency import run_in_threadpool

from reworker.clock import Clock
from reworker.core.service import DeploymentView
from reworker.errors import StorageError
from reworker.fsm.states import TERMINAL_STATUSES, DeploymentStatus
from reworker.storage.contract import HeadRow

logger = logging.getLogger(__name__)

#: seconds without an event after which a comment is sent, so that nobody on the way gives up the connection.
HEARTBEAT_S = 15.0
#: seconds after which a stream ends; browsers come back by themselves.
LIFE_S = 600.0
#: seconds after which the token of a stream is looked at again: how long a revoked one goes on reading.
CHECK_S = 4.0
#: seconds between two looks, at least and at most.
LOOK_S, SLOW_LOOK_S = 0.2, 1.0
#: how many times longer than a look the pause after it is, within these bounds.
REST_RATIO = 20
#: seconds between two looks while the database is away.
AWAY_S = 2.0
#: deployments at work that the list knows, and changes of them that it keeps for slow readers.
MOVING_COUNT, KEPT_COUNT = 1000, 1000
#: changed deployments read after one look; the others are read after the next.
READ_COUNT = 200
#: seconds by which an id may be late: processes make ids by their own clocks.
LATE_S = 10.0
_FIRST_ID = "0" * 24
_OPEN = tuple(str(one) for one in DeploymentStatus if one not in TERMINAL_STATUSES)


class Source(Protocol):
    """What is looked at."""

    def heads(self, ids: Collection[str]) -> list[HeadRow]:
        """See `storage.heads_contract.HeadReader`."""
        ...

    def moving(self, statuses: Collection[str], after_id: str, *, limit: int) -> list[HeadRow]:
        """See `storage.heads_contract.HeadReader`."""
        ...

    def log_heads(self, ids: Collection[str]) -> dict[str, int]:
        """See `storage.contract.LogStore.heads`."""
        ...

    def deployment(self, deployment_id: str) -> DeploymentView:
        """See `core.service.Service`."""
        ...


class Change(msgspec.Struct, frozen=True):
    """A deployment that has changed; `number` grows from change to change, `data` is what readers get."""

    number: int
    view: DeploymentView
    data: bytes


class Follower:
    """One stream's place in the watcher.

    Args:
        own_id: of the deployment it follows; empty is all of them.
        has_log: lines of output count as changes.
    """

    def __init__(self, own_id: str = "", *, has_log: bool = False) -> None:
        self.own_id, self.has_log = own_id, has_log
        self._is_changed = asyncio.Event()

    def wake(self) -> None:
        """Say that something has changed."""
        self._is_changed.set()

    async def changed(self, timeout_s: float) -> bool:
        """Wait until something has changed since the last call, or for so long; tell which."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_changed.wait()
        except TimeoutError:
            return False
        self._is_changed.clear()
        return True


class Watcher:
    """Looks at the database while somebody follows, and wakes those whose deployment has changed.

    Args:
        source: what is looked at.
        show: makes what readers of the list get of a deployment.
        clock: of this machine.

    Its streams send a comment after `heartbeat_s` without an event, look at their token every `check_s`, and
    end after `life_s`.
    """

    heartbeat_s, life_s, check_s = HEARTBEAT_S, LIFE_S, CHECK_S

    def __init__(self, source: Source, show: Callable[[DeploymentView], bytes], clock: Clock) -> None:
        self._source, self.clock = source, clock
        self._followers: set[Follower] = set()
        self._marks: dict[str, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None
        #: tells the ids of this process's changes from those of others.
        self.epoch = secrets.token_hex(4)
        #: the server ends, and streams with it.
        self.is_ended = False
        #: the list of all, for those who follow it.
        self.feed = Feed(source, show)

    @contextmanager
    def following(self, own_id: str = "", *, has_log: bool = False) -> Iterator[Follower]:
        """Follow a deployment, or all of them, for the block."""
        follower = Follower(own_id, has_log=has_log)
        self._followers.add(follower)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def end(self) -> None:
        """End all streams; on the event loop."""
        self.is_ended = True
        for one in self._followers:
            one.wake()

    async def _watch(self) -> None:
        took_s = 0.0
        while self._followers and not self.is_ended:
            began_mono_s, before_s = self.clock.mono_s(), took_s
            try:
                await self._look()
            except StorageError as error:
                logger.warning("streams stand still: %s", error)
                await asyncio.sleep(AWAY_S)
            except Exception:  # top of the task
                logger.exception("streams stand still")
                await asyncio.sleep(AWAY_S)
            took_s = self.clock.mono_s() - began_mono_s
            # the shorter of two: a single long look says nothing but that the machine had other work
            await asyncio.sleep(min(max(LOOK_S, min(took_s, before_s) * REST_RATIO), SLOW_LOOK_S))
        self._marks.clear()
        self.feed.forget()

    async def _look(self) -> None:
        own = {one.own_id for one in self._followers if one.own_id}
        logged = {one.own_id for one in self._followers if one.own_id and one.has_log}
        if own:
            self._wake_changed(await run_in_threadpool(self._marks_of, own, logged))
        if any(not one.own_id for one in self._followers):
            changed, was_ready = await run_in_threadpool(self.feed.read), self.feed.is_ready
            self.feed.add(changed)
            self._wake(*([""] if changed or not was_ready else []))

    def _marks_of(self, own: Collection[str], logged: Collection[str]) -> dict[str, tuple[int, int]]:
        versions = {row.id: row.version for row in self._source.heads(own)}
        lines = self._source.log_heads(logged) if logged else {}
        return {own_id: (versions.get(own_id, -1), lines.get(own_id, 0)) for own_id in own}

    def _wake_changed(self, marks: dict[str, tuple[int, int]]) -> None:
        changed = {own_id for own_id, mark in marks.items() if self._marks.get(own_id) != mark}
        self._marks = marks
        self._wake(*changed)

    def _wake(self, *own_ids: str) -> None:
        wanted = set(own_ids)
        for one in self._followers if wanted else ():
            if one.own_id in wanted:
                one.wake()


class Feed:
    """The deployments that have changed last, each once, for any number of readers at their own pace."""

    def __init__(self, source: Source, show: Callable[[DeploymentView], bytes]) -> None:
        self._source, self._show = source, show
        self._known: dict[str, int] = {}
        self._newest = ""
        self._changes: OrderedDict[str, Change] = OrderedDict()
        self._lost_number = 0
        #: of the last change.
        self.number = 0
        #: changes from now on are noticed; before that, a reader must not read the list.
        self.is_ready = False

    def read(self) -> list[DeploymentView]:
        """Return what has changed since the last call; on one thread at a time."""
        is_first = not self._newest
        if is_first:
            newest = self._source.moving((), _FIRST_ID, limit=1)
            self._newest = newest[0].id if newest else _FIRST_ID
        rows = self._source.moving(_OPEN, _earlier(self._newest, LATE_S), limit=MOVING_COUNT)
        here = {row.id: row.version for row in rows}
        gone = self._known.keys() - here.keys()
        now = here | {row.id: row.version for row in (self._source.heads(gone) if gone else ())}
        changed = sorted(own_id for own_id, version in now.items() if self._known.get(own_id) != version)
        later = {own_id: self._known.get(own_id, -1) for own_id in changed[READ_COUNT:]}
        self._known, self._newest = here | later, max([self._newest, *here])
        if is_first:  # what was there before is in the list that a reader reads first
            return []
        return [self._source.deployment(own_id) for own_id in changed[:READ_COUNT]]

    def add(self, views: Iterable[DeploymentView]) -> None:
        """Keep what `read` has returned; on the event loop."""
        self.is_ready = True
        for view in views:
            self.number += 1
            self._changes[view.row.id] = Change(self.number, view, self._show(view))
            self._changes.move_to_end(view.row.id)
        while len(self._changes) > KEPT_COUNT:
            self._lost_number = self._changes.popitem(last=False)[1].number

    def after(self, number: int) -> list[Change]:
        """Return the last change of each deployment that has one after this number, in order."""
        found = list(takewhile(lambda one: one.number > number, reversed(self._changes.values())))
        return found[::-1]

    def has_lost(self, number: int) -> bool:
        """Tell whether a reader who has seen the changes up to a number must read the list again."""
        return number < self._lost_number

    def forget(self) -> None:
        """Forget what was at work: nobody looks any more."""
        self._known, self._newest, self._lost_number = {}, "", self.number
        self.is_ready = False


def _earlier(own_id: str, by_s: float) -> str:
    """Return an id of so much earlier."""
    millis = max(int(own_id[:12], 16) - round(by_s * 1000), 0)
    return f"{millis:012x}{_FIRST_ID[12:]}"

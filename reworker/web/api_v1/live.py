"""Streams of server-sent events: one deployment as it goes on, or the list of all.

They can be resumed: every event has an id, which a browser sends again by itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from reworker.core.guarded import GuardedService
from reworker.core.places import SEEING, may_any, place_of_row
from reworker.core.principal import Principal, Scope
from reworker.core.service import DeploymentView, Service
from reworker.errors import DeploymentNotFound, ReworkerError
from reworker.storage.contract import HeadRow
from reworker.web.api_v1.history import Number
from reworker.web.api_v1.paging import MOST_COUNT
from reworker.web.api_v1.permits import Permit
from reworker.web.api_v1.serving import core_of, deployment_id
from reworker.web.api_v1.shapes import deployment_of, event_of, line_of
from reworker.web.context import Site
from reworker.web.errors import problem_of
from reworker.web.operations import Call, NoQuery, Operation
from reworker.web.streams import Change, Follower, Watcher

#: rows of a kind that are read at once; lines are stored in chunks of about as many.
PART_COUNT = 1000
#: seconds that lines of output may come after the end of their deployment.
LAST_LINES_S = 1.0
#: milliseconds after which a browser comes back.
RETRY_MS = 1000
EVENT_STREAM = "text/event-stream"

_POSITION = re.compile(r"(\d{1,9})(?:\.(\d{1,9}))?")
_BEAT = b": still here\n\n"


class StreamQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a stream begins; a ``Last-Event-ID`` counts more.

    Args:
        after_seq: with events after this number.
        after_no: with lines of output after this number.
        tail: with the last so many lines of output instead; 0 is not wanted.
        log: lines of output are wanted.
    """

    after_seq: Number = 0
    after_no: Number = 0
    tail: Annotated[int, Meta(ge=0, le=MOST_COUNT)] = 0
    log: bool = True


@dataclass
class Reading:
    """How far a stream is with its deployment; `part` runs on one thread at a time."""

    core: GuardedService
    own_id: str
    seq: int
    no: int
    has_log: bool
    tail: int = 0
    version: int = -1
    is_over: bool = False
    has_more: bool = False

    def part(self) -> bytes:
        """Return what has come since the last call, or the first part of it; then `has_more` is true."""
        view = self.core.deployment(self.own_id)
        chunks = [*self._events(), *(self._lines() if self.has_log else ())]
        is_caught_up = not self.has_more and self.seq >= view.row.last_seq
        if is_caught_up and view.row.version != self.version:
            self.version = view.row.version
            chunks.append(_event("state", self._id, msgspec.json.encode(deployment_of(view))))
        self.is_over = view.is_over and self.version == view.row.version
        return b"".join(chunks)

    @property
    def _id(self) -> str:
        return f"{self.seq}.{self.no}"

    def _events(self) -> Iterator[bytes]:
        found = self.core.events(self.own_id, after_seq=self.seq, limit=PART_COUNT)
        self.has_more = len(found) == PART_COUNT
        for one in found:
            self.seq = one.seq
            yield _event("event", self._id, msgspec.json.encode(event_of(one)))

    def _lines(self) -> Iterator[bytes]:
        if self.tail:
            found = self.core.log_lines(self.own_id, limit=self.tail, is_tail=True)
        else:
            found = self.core.log_lines(self.own_id, after_no=self.no, limit=PART_COUNT)
            self.has_more = self.has_more or len(found) == PART_COUNT
        self.tail = 0
        for one in found:
            self.no = one.no
            yield _event("log", self._id, msgspec.json.encode(line_of(one)))


class _Source:
    """What the watcher looks at: the database itself, for everybody; who may see what comes after."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def heads(self, ids: Collection[str]) -> list[HeadRow]:
        return self._service.reader.heads(ids)

    def moving(self, statuses: Collection[str], after_id: str, *, limit: int) -> list[HeadRow]:
        return self._service.reader.moving(statuses, after_id, limit=limit)

    def log_heads(self, ids: Collection[str]) -> dict[str, int]:
        return self._service.log_heads(ids)

    def deployment(self, deployment_id: str) -> DeploymentView:
        return self._service.deployment(deployment_id)


def new_watcher(site: Site) -> Watcher:
    """Return the one watcher of an application."""
    return Watcher(_Source(site.service), lambda view: msgspec.json.encode(deployment_of(view)), site.clock)


def _watcher(call: Call) -> Watcher:
    found = call.request.app.state.watcher
    assert isinstance(found, Watcher)
    return found


def _follow(call: Call) -> Response:
    own_id, query = deployment_id(call), call.query
    core = core_of(call)
    core.deployment(own_id)
    seq, no = position_of(call.request.headers.get("last-event-id", ""), core, own_id)
    reading = Reading(core, own_id, seq or query.after_seq, no or query.after_no, query.log)
    if not seq:
        reading.tail = query.tail
    return _streaming(call, lambda: _deployment_stream(call, reading))


def position_of(text: str, core: GuardedService, own_id: str) -> tuple[int, int]:
    """Return the event and line that a ``Last-Event-ID`` stands for; one we have not given counts as none."""
    found = _POSITION.fullmatch(text)
    seq = int(found[1]) if found else 0
    if found is None or seq > core.deployment(own_id).row.last_seq:
        return 0, 0
    return seq, int(found[2] or 0)


async def _deployment_stream(call: Call, reading: Reading) -> AsyncIterator[bytes]:
    watcher, clock = _watcher(call), call.site.clock
    ends_at_mono_s, permit = clock.mono_s() + watcher.life_s, Permit(call, watcher.check_s)
    with watcher.following(reading.own_id, has_log=reading.has_log) as follower:
        yield f"retry: {RETRY_MS}\n\n".encode()
        while clock.mono_s() < ends_at_mono_s and not watcher.is_ended:
            await permit.renew()
            yield await run_in_threadpool(reading.part)
            if reading.has_more:
                continue
            if reading.is_over and not (reading.has_log and await follower.changed(LAST_LINES_S)):
                yield _event("end", "", b"{}")
                return
            # one that is over waited for its last lines above
            async for beat in _beats(watcher, follower, permit, 0 if reading.is_over else ends_at_mono_s):
                yield beat


async def _beats(
    watcher: Watcher, follower: Follower, permit: Permit, ends_at_mono_s: float
) -> AsyncIterator[bytes]:
    """Yield a comment now and then until something changes, or until the end.

    Raises:
        NotAuthenticated, Forbidden: who follows may no more.
    """
    clock = watcher.clock
    beat_mono_s = clock.mono_s() + watcher.heartbeat_s
    while (left_s := ends_at_mono_s - clock.mono_s()) > 0:
        if await follower.changed(min(beat_mono_s - clock.mono_s(), permit.left_s, left_s)):
            return
        await permit.renew()
        if clock.mono_s() >= beat_mono_s:
            beat_mono_s = clock.mono_s() + watcher.heartbeat_s
            yield _BEAT


def _follow_all(call: Call) -> Response:
    return _streaming(call, lambda: _list_stream(call))


async def _list_stream(call: Call) -> AsyncIterator[bytes]:
    watcher, clock = _watcher(call), call.site.clock
    ends_at_mono_s, permit = clock.mono_s() + watcher.life_s, Permit(call, watcher.check_s)
    seen = _number_in(call.request.headers.get("last-event-id", ""), watcher.epoch, watcher.feed.number)
    with watcher.following() as follower:
        yield f"retry: {RETRY_MS}\n\n".encode()
        while clock.mono_s() < ends_at_mono_s and not watcher.is_ended:
            await permit.renew()
            news, seen = _news(call.who, watcher, seen)
            yield news
            async for beat in _beats(watcher, follower, permit, ends_at_mono_s):
                yield beat


def _news(who: Principal, watcher: Watcher, seen: int) -> tuple[bytes, int]:
    """Return what a reader of the list gets who has seen the changes up to a number, and the new number."""
    feed, epoch, chunks = watcher.feed, watcher.epoch, []
    if not feed.is_ready:
        return b"", seen
    if seen < 0 or feed.has_lost(seen):
        seen = feed.number
        chunks.append(_event("reset", f"{epoch}.{seen}", b"{}"))
    for change in feed.after(seen):
        seen = change.number
        if _may_see(who, change):
            chunks.append(_event("change", f"{epoch}.{seen}", change.data))
    return b"".join(chunks), seen


def _number_in(text: str, epoch: str, last: int) -> int:
    """Return the change that a ``Last-Event-ID`` stands for; one that this process has not given is -1."""
    own, _, number = text.partition(".")
    is_ours = own == epoch and re.fullmatch(r"\d{1,15}", number) is not None
    return int(number) if is_ours and int(number) <= last else -1


def _may_see(who: Principal, change: Change) -> bool:
    return may_any(who, SEEING, place_of_row(change.view.row))


def _streaming(call: Call, stream: Callable[[], AsyncIterator[bytes]]) -> Response:
    # no server on the way may keep events back until it has enough of them
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        return Response(headers=headers, media_type=EVENT_STREAM)
    return StreamingResponse(_until_wrong(stream()), headers=headers, media_type=EVENT_STREAM)


async def _until_wrong(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a stream; what goes wrong ends it with an event that says so, for the head is sent already."""
    try:
        async for chunk in stream:
            if chunk:
                yield chunk
    except DeploymentNotFound:  # it was pruned while somebody looked
        yield _event("end", "", b"{}")
    except ReworkerError as error:
        problem = problem_of(error)
        yield _event("problem", "", msgspec.json.encode({"name": problem.name, "detail": problem.detail}))


def _event(kind: str, own_id: str, data: bytes) -> bytes:
    head = f"id: {own_id}\nevent: {kind}\ndata: " if own_id else f"event: {kind}\ndata: "
    return head.encode() + data + b"\n\n"


OPERATIONS = (
    Operation(
        method="GET",
        path="/deployments/{deployment_id}/stream",
        do=_follow,
        scope=Scope.READ,
        also=SEEING,
        summary="Follow a deployment",
        description=(
            "Server-sent events: `event` and `log` are what `events` and `log` list, `state` is the "
            "deployment, `end` says that nothing more will come. `Last-Event-ID` goes on behind that event; "
            "one that this deployment has not given begins at the beginning."
        ),
        tag="stream",
        query=StreamQuery,
        errors=(404,),
        media_type=EVENT_STREAM,
    ),
    Operation(
        method="GET",
        path="/stream",
        do=_follow_all,
        scope=Scope.READ,
        also=SEEING,
        summary="Follow all deployments",
        description=(
            "Server-sent events: `reset` says to read the list now, `change` is a deployment that changed."
        ),
        tag="stream",
        query=NoQuery,
        media_type=EVENT_STREAM,
    ),
)

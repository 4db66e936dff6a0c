"""Queues and workers as rows of a page: figures in words, and what is worth a look. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from reworker.core.bus_look import SILENT, BusLook, QueueLook, WorkerLook
from reworker.gateway.contract import PollData
from reworker.topology.code_queues import CODE_COMMAND
from reworker.topology.names import worker_queue
from reworker.web.pages.words import duration

Row = TypeVar("Row")
#: rows of a table.
ROW_COUNT = 200
#: what stands for a figure that nobody knows.
UNKNOWN = "\u2013"


class Slice(msgspec.Struct, frozen=True):
    """Some rows of a table.

    Args:
        rows: that are shown.
        total: how many fit the filter.
        first: number of the first, from 0.
        after: number of the first of the next page; 0 is none.
    """

    rows: tuple[object, ...]
    total: int
    first: int
    after: int


class QueueRow(msgspec.Struct, frozen=True):
    """A queue in a table; `state` is a word, and `advice` what to do about it."""

    name: str
    kind: str
    state: str
    advice: str
    ready: str
    unacked: str
    consumers: str
    came: str
    went: str
    oldest_ready: str
    oldest_unacked: str


def queue_slice(look: BusLook, wanted: str, first: int) -> Slice:
    """Return the queues whose name contains a text."""
    return _slice([one for one in look.queues if wanted in one.name], first, queue_row)


def worker_slice(look: BusLook, wanted: str, first: int) -> Slice:
    """Return the workers whose name, queue or host contains a text."""
    found = [one for one in look.workers if any(wanted in text for text in (one.worker, one.queue, one.host))]
    return _slice(found, first, lambda one: one)


class PollerRow(msgspec.Struct, frozen=True):
    """A worker that polls over HTTP: its name, what it polls for, and when it has done so last."""

    worker: str
    name: str
    domain: str
    at: datetime


def poller_slice(polled: Sequence[PollData], wanted: str, first: int) -> Slice:
    """Return the workers that poll whose name, type or domain contains a text."""
    found = [
        one
        for one in polled
        if any(wanted in text for text in (one.worker_id, one.type.name, one.type.domain))
    ]
    return _slice(found, first, _poller_row)


def _poller_row(one: PollData) -> PollerRow:
    at = datetime.fromtimestamp(one.at_s, UTC)
    return PollerRow(one.worker_id, one.type.name, one.type.domain, at)


def _slice(found: Sequence[Row], first: int, show: Callable[[Row], object]) -> Slice:
    first = first if first < len(found) else 0
    rows = tuple(show(one) for one in found[first : first + ROW_COUNT])
    after = first + ROW_COUNT
    return Slice(rows, len(found), first, after if after < len(found) else 0)


def queue_row(one: QueueLook) -> QueueRow:
    """Return a queue as a row."""
    state, advice = _state(one)
    return QueueRow(
        name=one.name,
        kind=one.kind,
        state=state,
        advice=advice,
        ready=f"{one.ready:,}" if one.is_there else UNKNOWN,
        unacked=UNKNOWN if one.unacked is None else f"{one.unacked:,}",
        consumers=f"{one.consumers:,}" if one.is_there else UNKNOWN,
        came=rate(one.in_per_s),
        went=rate(one.out_per_s),
        oldest_ready=duration(one.oldest_ready_s) or UNKNOWN,
        oldest_unacked=duration(one.oldest_unacked_s) or UNKNOWN,
    )


def _state(one: QueueLook) -> tuple[str, str]:
    if not one.is_there and one.name == worker_queue(CODE_COMMAND):  # each code has a queue of its own
        return "not found", "tasks wait, and no code worker answers: start reworker worker code"
    if not one.is_there:
        return "not found", "steps were sent: its worker reads a queue of another name, or was never started"
    if one.kind == "dead":
        return ("letters", "read why, then send them back or drop them") if one.ready else ("empty", "")
    if one.kind == "retry":
        return (
            ("waiting", "each goes back to its queue when its time is over") if one.ready else ("empty", "")
        )
    if not one.consumers:
        who = "start its worker" if one.kind == "worker" else "start a core"
        return "unread", f"nobody reads it: {who}"
    return "read", ""


def rate(per_s: float | None) -> str:
    """Return a rate in words; small ones by the minute."""
    if per_s is None:
        return UNKNOWN
    if per_s == 0:
        return "0/s"
    return f"{per_s * 60:.1f}/min" if per_s < 1 else f"{per_s:,.1f}/s"


def versions_text(look: BusLook) -> str:
    """Return which versions run when they differ; empty when they do not."""
    versions = look.versions
    return f"Workers run different versions: {', '.join(versions)}" if len(versions) > 1 else ""


def type_of(one: WorkerLook) -> str:
    """Return the name of a worker type as control messages know it; empty when its queue is not known."""
    return one.queue.rpartition(".")[2]


def silent_count(look: BusLook) -> int:
    """Return how many processes do not answer."""
    return sum(one.state == SILENT for one in look.workers)


def tab_title(look: BusLook) -> str:
    """Return what the title of the tab says: a broker that is away, dead letters, workers that are silent."""
    if look.state == "away":
        return "broker away"
    dead = sum(one.ready for one in look.queues if one.kind == "dead")
    silent = silent_count(look)
    parts = [f"{dead:,} dead"] if dead else []
    parts += [f"{silent:,} silent"] if silent else []
    return ", ".join(parts)

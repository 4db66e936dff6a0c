"""Whether a deployment's history is whole: the chain of hashes holds, and its events give its snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import msgspec

from reworker.core import codec
from reworker.errors import DeploymentNotFound
from reworker.fsm.deployment import FORMAT, Deployment
from reworker.fsm.machine import replay
from reworker.storage.contract import DeploymentRow, EventRow, Reader

#: events read at once.
PAGE_COUNT = 1000


def problems(reader: Reader, deployment_id: str) -> list[str]:
    """Return what is wrong with a deployment's history, in words; nothing is well.

    Raises:
        DeploymentNotFound: no such deployment.
        StorageUnavailable: the database is away, which says nothing about the history.
    """
    try:
        return _problems(reader, deployment_id)
    except (TypeError, ValueError) as error:
        return [f"its history cannot be read: {error}"]


def _problems(reader: Reader, deployment_id: str) -> list[str]:
    row = reader.deployment(deployment_id)
    found: list[str] = []
    last_hash, last_seq, events = "", 0, []
    for event in _events(reader, deployment_id, row.last_seq):
        expected = codec.chained(last_hash, msgspec.structs.replace(event, hash=""))
        if event.seq != last_seq + 1 or event.hash != expected.hash:
            found.append(f"event {event.seq} is not what was written after event {last_seq}")
        last_hash, last_seq = event.hash, event.seq
        events.append(event)
    if (last_seq, last_hash) != (row.last_seq, row.last_hash):
        found.append(f"the history ends with event {last_seq}, the deployment's row says {row.last_seq}")
    if found:
        return found
    try:
        plan = reader.plan(deployment_id)
    except DeploymentNotFound:  # not the deployment: its row was read just now
        return ["its plan is gone"]
    return _replay_problems(row, plan, events)


def _replay_problems(row: DeploymentRow, plan: bytes, events: Iterable[EventRow]) -> list[str]:
    """Return what is wrong with the stored state, given that the events are what was written."""
    try:
        stored = codec.decode_snapshot(row.snapshot)
        replayed = replay(codec.decode_plan(plan), row.id, map(codec.decode_event, events))
    except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        return [f"its plan, its events or its snapshot cannot be read: {error}"]
    if _shown(replayed, stored) != stored:
        return ["replaying the events does not give the stored snapshot"]
    if str(stored.status) != row.status:
        return [f"its snapshot says {stored.status}, its row {row.status}"]
    return []


def _shown(replayed: Deployment, stored: Deployment) -> Deployment:
    """Return what a replay gives, as far as the stored snapshot knows it: an older one knows less."""
    if stored.format == FORMAT:
        return replayed
    known = ("status", "attempt_count", "completed_count", "failed_count", "failure", "ended_at")
    return replace(stored, **{name: getattr(replayed, name) for name in known})


def _events(reader: Reader, deployment_id: str, last_seq: int) -> Iterator[EventRow]:
    seq = 0
    while page := reader.events(deployment_id, after_seq=seq, limit=PAGE_COUNT):
        yield from (event for event in page if event.seq <= last_seq)
        seq = page[-1].seq

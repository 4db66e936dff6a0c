"""Whether a deployment's history is whole: the chain of hashes holds, and its events give its snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from reworker.core import codec
from reworker.fsm.deployment import FORMAT, Deployment
from reworker.fsm.machine import replay
from reworker.storage.contract import EventRow, Reader

#: events read at once.
PAGE_COUNT = 1000


def problems(reader: Reader, deployment_id: str) -> list[str]:
    """Return what is wrong with a deployment's history, in words; nothing is well.

    Raises:
        DeploymentNotFound: no such deployment.
    """
    row = reader.deployment(deployment_id)
    found: list[str] = []
    last_hash, last_seq, events = "", 0, []
    for event in _events(reader, deployment_id, row.last_seq):
        expected = codec.chained(last_hash, msgspec.structs.replace(event, hash=""))
        if event.seq != last_seq + 1 or event.hash != expected.hash:
            found.append(f"event {event.seq} is not what was written after event {last_seq}")
        last_hash, last_seq = event.hash, event.seq
        events.append(codec.decode_event(event))
    if (last_seq, last_hash) != (row.last_seq, row.last_hash):
        found.append(f"the history ends with event {last_seq}, the deployment's row says {row.last_seq}")
    plan = codec.decode_plan(reader.plan(deployment_id))
    stored = codec.decode_snapshot(row.snapshot)
    if not found and _shown(replay(plan, deployment_id, events), stored) != stored:
        found.append("replaying the events does not give the stored snapshot")
    return found


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

"""How snapshots, plans and events stand in the database: JSON bytes, and the hash chain over events."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from reworker.fsm.deployment import Deployment
from reworker.fsm.events import EVENT_KINDS, Event
from reworker.fsm.plan import Plan
from reworker.fsm.plan_json import plan_from_json, plan_to_json
from reworker.storage.contract import EventRow

#: JSON of the plans that are kept decoded; about ten times that in memory.
PLAN_CACHE_BYTES = 8 << 20

_encoder = msgspec.json.Encoder()
_snapshots = msgspec.json.Decoder(Deployment)
NULL = b"null"


def encode_snapshot(deployment: Deployment) -> bytes:
    """Return a snapshot as JSON."""
    return _encoder.encode(deployment)


def decode_snapshot(data: bytes) -> Deployment:
    """Return the snapshot that `encode_snapshot` wrote.

    Raises:
        msgspec.DecodeError: it did not write this.
    """
    return _snapshots.decode(data)


def encode_plan(plan: Plan) -> bytes:
    """Return a plan as JSON."""
    return _encoder.encode(plan_to_json(plan))


def decode_plan(data: bytes) -> Plan:
    """Return the plan that `encode_plan` wrote."""
    return plan_from_json(msgspec.json.decode(data))


def encode_event(event: Event) -> bytes:
    """Return the fields of an event, without its kind and time, which have columns, as JSON."""
    return _encoder.encode({name: value for name, value in vars(event).items() if name != "at"})


def decode_event(row: EventRow) -> Event:
    """Return the event of a row.

    Raises:
        KeyError, TypeError, msgspec.DecodeError: the row was not written by us.
    """
    kind = EVENT_KINDS[row.kind]
    return msgspec.convert({**msgspec.json.decode(row.data), "at": row.at}, kind)


def encode(value: Any) -> bytes:
    """Return any plain value as JSON."""
    return _encoder.encode(value)


def chained(previous_hash: str, row: EventRow) -> EventRow:
    """Return the row with its hash: SHA-256 over the hash before and everything the row says."""
    said = (
        f"{previous_hash}\0{row.deployment_id}\0{row.seq}\0{row.kind}\0{_iso_text(row.at)}\0{row.actor}\0"
        f"{row.data.decode('utf-8')}\0{row.dedup_key or ''}\0{row.ignored or ''}"
    )
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    return msgspec.structs.replace(row, hash=digest)


@lru_cache(maxsize=64)
def _iso_text(at: datetime) -> str:
    """Return a time as text; the events of a batch have few."""
    return at.isoformat()


class PlanCache:
    """The plans used last, decoded; a batch does not read them again. One thread at a time."""

    def __init__(self, limit_bytes: int = PLAN_CACHE_BYTES) -> None:
        self._plans: OrderedDict[str, tuple[Plan, int]] = OrderedDict()
        self._limit_bytes, self._size_bytes = limit_bytes, 0

    def get(self, deployment_id: str, load: Callable[[str], bytes]) -> Plan:
        """Return a plan; `load` reads its JSON when it is not here."""
        if deployment_id not in self._plans:
            data = load(deployment_id)
            self._put(deployment_id, decode_plan(data), len(data))
        self._plans.move_to_end(deployment_id)
        return self._plans[deployment_id][0]

    def _put(self, deployment_id: str, plan: Plan, size_bytes: int) -> None:
        """Keep a plan; those that were not used for longest go, but never the newest."""
        self._plans[deployment_id] = (plan, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self._limit_bytes and len(self._plans) > 1:
            self._size_bytes -= self._plans.popitem(last=False)[1][1]

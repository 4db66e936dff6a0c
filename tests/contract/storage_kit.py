"""Rows for the storage suites."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from reworker.storage.contract import (
    AttemptRow,
    Changes,
    DeploymentRow,
    EventRow,
    OutboxRow,
    Storage,
    TimerRow,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
OWN, OTHER = "1" * 24, "2" * 24


def deployment(own_id: str = OWN, **fields: object) -> DeploymentRow:
    row = DeploymentRow(
        id=own_id,
        playbook_id=None,
        group="web",
        name="é",
        status="running",
        version=1,
        snapshot=b'{"a":"\xc3\xa9"}',
        last_seq=1,
        last_hash="f" * 64,
        step_count=2,
        actor="ann",
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def event(seq: int, own_id: str = OWN, dedup_key: str | None = None) -> EventRow:
    return EventRow(own_id, seq, "ReplyStarted", NOW, "web7", b'{"attempt":1}', dedup_key, None, "0" * 64)


def attempt(status: str = "ready", number: int = 1, own_id: str = OWN) -> AttemptRow:
    own = f"{own_id}.{number}"
    return AttemptRow(
        *(own, own_id, number, 0, "noop:Do", "web1", status, 1, "", "", None, b"null", NOW, None, None, None)
    )


def message(own_id: str, age_s: int = 0, **fields: object) -> OutboxRow:
    row = OutboxRow(
        id=own_id,
        deployment_id=OWN,
        kind="step",
        attempt=1,
        exchange="re",
        routing_key="worker.noop",
        properties=b"{}",
        body=b"\x00\xff",
        is_idempotent=False,
        claimed_by=None,
        claim_until=None,
        created_at=NOW - timedelta(seconds=age_s),
    )
    return msgspec.structs.replace(row, **fields)


def timer(kind: str = "run", own_id: str = OWN, after_s: float = 0) -> TimerRow:
    return TimerRow(own_id, kind, 1, NOW + timedelta(seconds=after_s))


def save(storage: Storage, **changes: object) -> None:
    """Write changes in a transaction of their own."""
    with storage.begin() as unit:
        unit.save(Changes(**changes))  # type: ignore[arg-type]  # the tests name the fields

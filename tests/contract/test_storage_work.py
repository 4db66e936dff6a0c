"""The storage contract: the work that workers have, summed up, on each engine."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from reworker.storage.contract import AttemptRow, Storage
from reworker.storage.work_contract import WorkRow
from tests.contract.storage_kit import NOW, OTHER, OWN, attempt, deployment, save


def test_attempts_are_summed_up_by_step_status_and_worker(storage: Storage) -> None:
    def one(number: int, status: str, worker: str = "", **ago_s: float) -> AttemptRow:
        times = {name: NOW - timedelta(seconds=value) for name, value in ago_s.items()}
        return msgspec.structs.replace(attempt(status, number), worker=worker, **times)

    consent = msgspec.structs.replace(
        one(5, "completed", "alice", ended_at=5), step="approval", role="approval"
    )
    save(storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")])
    save(
        storage,
        attempts=[
            one(1, "sent", sent_at=100),
            one(2, "sent", sent_at=10),
            one(3, "started", "h:1:0", sent_at=200, started_at=90),
            one(4, "completed", "h:1:0", sent_at=300, started_at=290, ended_at=5),
            attempt("sent", 1, OTHER),
            consent,
        ],
    )
    found = storage.reader.work([OWN], NOW - timedelta(seconds=60))
    assert sorted(found, key=lambda row: row.status) == [
        WorkRow(
            *("noop:Do", "completed", "h:1:0", 1),
            *(NOW - timedelta(seconds=300), NOW - timedelta(seconds=290), NOW - timedelta(seconds=5)),
            *(0, 0),
        ),
        WorkRow("noop:Do", "sent", "", 2, NOW - timedelta(seconds=100), None, None, 1, 0),
        WorkRow(
            *("noop:Do", "started", "h:1:0", 1),
            *(NOW - timedelta(seconds=200), NOW - timedelta(seconds=90), NOW - timedelta(seconds=90)),
            *(0, 0),
        ),
    ]


def test_there_is_no_work_when_there_are_no_deployments(storage: Storage) -> None:
    assert storage.reader.work([], NOW) == []

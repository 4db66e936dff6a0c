"""One idempotency key used many times at once starts one deployment, on each engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.guarded import GuardedService
from reworker.core.principal import Principal, Scope
from reworker.core.service import Service
from reworker.core.submission import Terms
from reworker.errors import KeyReused
from reworker.storage.opening import open_logs, open_storage

AT_ONCE = 50
PLAYBOOK = json.dumps({"group": "web", "name": "n", "execution": [{"hosts": ["web1"], "steps": ["noop:Do"]}]})


@pytest.fixture
def cores(any_database_url: str) -> Iterator[list[GuardedService]]:
    """What a person asks of two servers on one database."""
    who = Principal("1" * 24, "ann", frozenset({Scope.RUN}))
    opened = [(open_storage(any_database_url), open_logs(any_database_url)) for _ in range(2)]
    yield [
        GuardedService(
            Service(storage, logs, SystemClock()), Access(storage, SystemClock(), later=lambda _: None), who
        )
        for storage, logs in opened
    ]
    for pair in opened:
        for one in pair:
            one.close()


def test_key_starts_one_deployment_when_it_is_used_many_times_at_once(cores: list[GuardedService]) -> None:
    def submit(number: int) -> str:
        return cores[number % 2].submit(PLAYBOOK, terms=Terms("release 7", b"one"))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(submit, range(AT_ONCE)))
    assert len(set(found)) == 1
    assert [view.row.id for view in cores[0].deployments()] == found[:1]
    assert len(cores[0].guard.access.audit()) == 1


def test_one_request_wins_when_many_use_a_key_at_once(cores: list[GuardedService]) -> None:
    def submit(number: int) -> str:
        try:
            return cores[number % 2].submit(PLAYBOOK, terms=Terms("release 7", b"%d" % number))
        except KeyReused as error:
            return f"taken by {error.deployment_id}"

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(submit, range(AT_ONCE)))
    (view,) = cores[0].deployments()
    assert sorted(found) == sorted([view.row.id, *[f"taken by {view.row.id}"] * (AT_ONCE - 1)])
    outcomes = [one.outcome for one in cores[0].guard.access.audit()]
    assert sorted(outcomes) == ["done", *["failed"] * (AT_ONCE - 1)]

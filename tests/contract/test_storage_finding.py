"""The storage contract for finding deployments: filters, pages and counts."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reworker.ids import make_id
from reworker.storage.contract import DeploymentFilter, DeploymentRow, PlaceCount, Storage
from tests.contract.storage_kit import NOW, deployment, save


def at(number: int) -> datetime:
    return NOW + timedelta(seconds=number)


def row(number: int, **fields: object) -> DeploymentRow:
    return deployment(make_id(at(number), number), created_at=at(number), **fields)


ROWS = [
    row(0, status="completed", environment="production", playbook_id="a" * 24),
    row(1, group="db", name="50% of_all", environment="staging", actor="bob"),
    row(2, status="failed", name="Roll Out", playbook_id="a" * 24),
    row(3, group="db", status="completed", environment="production", name="roll\\out", idempotency_key="k"),
    row(4, status="completed", actor="bob", is_task=True),
]


@pytest.fixture
def filled(storage: Storage) -> Storage:
    """A database with some deployments."""
    save(storage, created=[(one, b"{}") for one in ROWS])
    return storage


@pytest.mark.parametrize(
    ("fields", "numbers"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"statuses": ("completed",)}, [4, 3, 0]),
        ({"statuses": ("completed", "failed")}, [4, 3, 2, 0]),
        ({"groups": ("db",)}, [3, 1]),
        ({"groups": ("db", "web"), "statuses": ("running",)}, [1]),
        ({"environments": ("production", "staging")}, [3, 1, 0]),
        ({"environments": ("",)}, [4, 2]),
        ({"playbook_id": "a" * 24}, [2, 0]),
        ({"actor": "bob"}, [4, 1]),
        ({"is_task": False}, [3, 2, 1, 0]),
        ({"is_task": True}, [4]),
        ({"name": "ROLL"}, [3, 2]),
        ({"name": "0% of"}, [1]),
        ({"name": "f_a"}, [1]),
        ({"name": "l\\o"}, [3]),
        ({"name": "l_o"}, []),
        ({"name": "%"}, [1]),
        ({"name": "\x00"}, []),
        ({"created_after": at(3)}, [4, 3]),
        ({"created_before": at(1)}, [0]),
        ({"created_after": at(1), "created_before": at(3)}, [2, 1]),
        ({"created_after": at(9)}, []),
        ({"actor": "'; --"}, []),
        ({"id": ROWS[2].id}, [2]),
        ({"id": ROWS[0].id[:11]}, [0]),
        ({"id": ROWS[0].id[:4]}, [4, 3, 2, 1, 0]),
        ({"id": "f"}, []),
    ],
)
def test_deployments_are_found_and_counted_by_what_is_wanted(
    filled: Storage, fields: dict[str, object], numbers: list[int]
) -> None:
    wanted = DeploymentFilter(**fields)  # type: ignore[arg-type]  # the table above names them
    assert filled.reader.deployments(limit=9, wanted=wanted) == [ROWS[number] for number in numbers]
    statuses = [ROWS[number].status for number in numbers]
    expected = {status: statuses.count(status) for status in set(statuses)}
    assert filled.reader.counts_by_status(wanted) == expected
    places = filled.reader.counts_by_place(wanted)
    assert sum(one.count for one in places) == len(numbers)


def test_deployments_are_read_in_pages_with_a_filter_and_a_status(filled: Storage) -> None:
    read, wanted = filled.reader.deployments, DeploymentFilter(groups=("web", "db"))
    assert read(limit=2, wanted=wanted) == [ROWS[4], ROWS[3]]
    assert read(limit=2, wanted=wanted, before_id=ROWS[3].id) == [ROWS[2], ROWS[1]]
    assert read(limit=2, wanted=wanted, before_id=ROWS[3].id, status="completed") == [ROWS[0]]


def test_counts_are_told_by_place(filled: Storage) -> None:
    wanted = DeploymentFilter(statuses=("completed",))
    assert sorted(filled.reader.counts_by_place(wanted), key=str) == sorted(
        [
            PlaceCount("completed", "web", "production", 1),
            PlaceCount("completed", "db", "production", 1),
            PlaceCount("completed", "web", "", 1),
        ],
        key=str,
    )


def test_deployment_is_found_by_its_key(filled: Storage) -> None:
    assert filled.reader.deployment_with_key("k") == ROWS[3]
    assert filled.reader.deployment_with_key("l") is None

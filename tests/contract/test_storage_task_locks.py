"""Two cores at the same tasks, codes and schedules: a server lets them work side by side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from reworker.errors import StorageUnavailable
from reworker.storage.postgres import PostgresStorage
from tests.contract.storage_kit import NOW
from tests.contract.task_kit import (
    CODE,
    PROJECT,
    SCHEDULE,
    TASK,
    code_row,
    own_id,
    run,
    schedule_row,
    task_row,
)

pytestmark = pytest.mark.postgres


@pytest.fixture
def pair(postgres_url: str) -> Iterator[tuple[PostgresStorage, PostgresStorage]]:
    """Open the same database twice, each as another core."""
    one, other = (PostgresStorage(postgres_url, lock_wait_s=0.2) for _ in range(2))
    yield one, other
    one.close()
    other.close()


def test_tasks_are_passed_over_when_another_transaction_has_them(
    pair: tuple[PostgresStorage, PostgresStorage],
) -> None:
    first, second = pair
    rows = [task_row(own_id(one)) for one in range(1, 4)]
    running = [task_row(own_id(one), phase="active") for one in range(4, 7)]
    with first.begin() as unit:
        unit.add_tasks([*rows, *running], [""] * 6)
    run(first, *(row.id for row in running), ended_at=NOW)
    with first.begin() as one, second.begin() as other:
        assert one.ready_tasks(CODE, NOW, 1) == rows[:1]
        assert other.ready_tasks(CODE, NOW, 10) == rows[1:]
        assert one.ended_tasks(2) == running[:2]
        assert other.ended_tasks(10) == running[2:]
        assert [row for row, _ in other.started_tasks(10)] == running[2:]
        assert [row for row, _ in one.started_tasks(10)] == running[:2]


def test_tasks_and_codes_are_waited_for_when_another_transaction_has_them(
    pair: tuple[PostgresStorage, PostgresStorage],
) -> None:
    first, second = pair
    with first.begin() as unit:
        unit.add_tasks([task_row()], [""])
        unit.put_code(code_row())
        unit.add_schedules([schedule_row()])
    with first.begin() as unit:
        unit.lock_tasks([TASK])
        unit.lock_codes([CODE])
        unit.lock_schedule(SCHEDULE)
        with pytest.raises(StorageUnavailable), second.begin() as other:
            other.lock_tasks([TASK])
        with pytest.raises(StorageUnavailable), second.begin() as other:
            other.lock_codes([CODE])
        with pytest.raises(StorageUnavailable), second.begin() as other:
            other.lock_code(PROJECT, "Fib")
        with pytest.raises(StorageUnavailable), second.begin() as other:
            other.lock_schedule(SCHEDULE)
    with second.begin() as other:
        assert list(other.lock_tasks([TASK])) == [TASK]


def test_name_of_a_code_is_locked_before_there_is_one(
    pair: tuple[PostgresStorage, PostgresStorage],
) -> None:
    first, second = pair
    with first.begin() as unit:
        assert unit.lock_code(PROJECT, "Fib") is None
        with pytest.raises(StorageUnavailable), second.begin() as other:
            other.lock_code(PROJECT, "Fib")
        with second.begin() as other:
            assert other.lock_code(PROJECT, "Other") is None


def test_schedules_are_passed_over_when_another_transaction_has_them(
    pair: tuple[PostgresStorage, PostgresStorage],
) -> None:
    first, second = pair
    later = NOW + timedelta(hours=1)
    rows = [schedule_row(own_id(one), due_s=one, last_at=later) for one in range(1, 4)]
    with first.begin() as unit:
        unit.add_schedules(rows)
    with first.begin() as one, second.begin() as other:
        assert one.due_schedules(later, 2) == rows[:2]
        assert other.due_schedules(later, 2) == rows[2:]
        assert other.schedules_ahead(NOW) == rows[2:]

"""Tasks and what the core does with them, on both engines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from reworker.errors import StorageError
from reworker.storage.contract import Storage
from reworker.storage.task_rows import CodeLoad, TaskFilter, TaskRow, TaskWork
from tests.contract.storage_kit import NOW, attempt, deployment, save
from tests.contract.task_kit import CODE, TASK, code_row, own_id, run, task_row

LATER = NOW + timedelta(seconds=10)


def add(storage: Storage, *rows: TaskRow, payload: str = "{}") -> None:
    with storage.begin() as unit:
        unit.add_tasks(rows, [payload] * len(rows))


def test_task_is_given_back_as_it_was_when_stored_and_changed(storage: Storage) -> None:
    row = task_row(start_at=NOW, end_at=LATER)
    add(storage, row, payload='é\x00{"a":1}')
    assert storage.reader.task(TASK) == row
    assert storage.reader.payload(TASK) == 'é\x00{"a":1}'
    changed = msgspec.structs.replace(
        row,
        status="error",
        phase="over",
        retry_task_id=own_id(1),
        percent=50,
        msg="exit code 3",
        updated_at=LATER,
        start_at=LATER,
        end_at=LATER,
    )
    with storage.begin() as unit:
        assert unit.lock_tasks([TASK, own_id(9)]) == {TASK: row}
        unit.save_tasks([changed])
        assert unit.payloads([TASK, own_id(9)]) == {TASK: 'é\x00{"a":1}'}
    assert storage.reader.task(TASK) == changed
    assert (storage.reader.task(own_id(9)), storage.reader.payload(own_id(9))) == (None, "")


def test_nothing_is_done_when_nothing_is_given(storage: Storage) -> None:
    with storage.begin() as unit:
        unit.add_tasks([], [])
        unit.save_tasks([])
        assert (unit.lock_tasks([]), unit.payloads([])) == ({}, {})
    assert storage.reader.tasks(TaskFilter(), limit=5) == []


def test_none_of_the_tasks_is_stored_when_one_cannot_be(storage: Storage) -> None:
    add(storage, task_row(own_id(1)))
    with pytest.raises(StorageError), storage.begin() as unit:
        unit.add_tasks([task_row(own_id(2)), task_row(own_id(1))], ["", ""])
    assert [row.id for row in storage.reader.tasks(TaskFilter(), limit=5)] == [own_id(1)]


FILTERS = [
    (TaskFilter(), [4, 3, 2, 1]),
    (TaskFilter(project_id=own_id(77)), [2]),
    (TaskFilter(code_id=own_id(78)), [1]),
    (TaskFilter(code_name="Other"), [1]),
    (TaskFilter(statuses=("error", "complete")), [4, 3]),
    (TaskFilter(label="x"), [3]),
    (TaskFilter(cluster="big", label="x"), []),
    (TaskFilter(cluster="big"), [4]),
    (TaskFilter(schedule_id=own_id(79)), [4]),
    (TaskFilter(created_after=LATER), [4, 3]),
    (TaskFilter(created_before=LATER), [2, 1]),
    (TaskFilter(before_id=own_id(3)), [2, 1]),
]


@pytest.mark.parametrize(("wanted", "numbers"), FILTERS)
def test_wanted_tasks_are_found_and_counted(
    storage: Storage, wanted: TaskFilter, numbers: Sequence[int]
) -> None:
    add(
        storage,
        task_row(own_id(1), code_id=own_id(78), code_name="Other"),
        task_row(own_id(2), project_id=own_id(77)),
        task_row(own_id(3), status="error", label="x", created_at=LATER),
        task_row(own_id(4), status="complete", cluster="big", schedule_id=own_id(79), created_at=LATER),
    )
    found = storage.reader.tasks(wanted, limit=10)
    assert [row.id for row in found] == [own_id(one) for one in numbers]
    assert storage.reader.tasks(wanted, limit=2, offset=1) == found[1:3]
    counts: dict[str, int] = {}
    for row in found:
        counts[row.status] = counts.get(row.status, 0) + 1
    assert storage.reader.task_counts(wanted) == counts


def test_counts_are_of_what_changed_lately_when_a_time_is_given(storage: Storage) -> None:
    add(storage, task_row(own_id(1)), task_row(own_id(2), status="error", updated_at=LATER))
    assert storage.reader.task_counts(TaskFilter(), LATER) == {"error": 1}


def test_ready_tasks_come_by_priority_and_age_when_they_are_due(storage: Storage) -> None:
    add(
        storage,
        task_row(own_id(1)),
        task_row(own_id(2), priority=2),
        task_row(own_id(3), priority=1, due_at=LATER),
        task_row(own_id(4), priority=2),
        task_row(own_id(5), phase="active"),
        task_row(own_id(6), code_id=own_id(99)),
    )
    with storage.begin() as unit:
        ready = [row.id for row in unit.ready_tasks(CODE, NOW, 10)]
        assert ready == [own_id(2), own_id(4), own_id(1)]
        assert [row.id for row in unit.ready_tasks(CODE, LATER, 3)] == [own_id(2), own_id(4), own_id(3)]
        assert unit.active_count(CODE) == 1
        assert unit.open_ids(CODE) == [own_id(one) for one in range(1, 6)]


def test_codes_with_work_are_told_with_their_load_when_not_paused(storage: Storage) -> None:
    with storage.begin() as unit:
        unit.put_code(code_row())
        unit.put_code(code_row(own_id(98), name="paused", is_paused=True))
        unit.put_code(code_row(own_id(97), name="idle"))
    assert storage.reader.waiting_codes(NOW) == []
    add(
        storage,
        task_row(own_id(1), due_at=LATER),
        task_row(own_id(2), phase="active"),
        task_row(own_id(3), phase="active"),
        task_row(own_id(4), phase="over"),
        task_row(own_id(5), code_id=own_id(98)),
        task_row(own_id(6), code_id=own_id(97), phase="active"),
    )
    assert storage.reader.waiting_codes(NOW) == []
    assert storage.reader.waiting_codes(LATER) == [CodeLoad(CODE, b'{"retries":1}', 2)]
    assert sorted(storage.reader.active_ids()) == [own_id(2), own_id(3), own_id(6)]


def test_next_moment_is_that_of_a_task_or_a_schedule_when_none_is_due_yet(storage: Storage) -> None:
    assert storage.reader.next_task_at(NOW) is None
    add(storage, task_row(own_id(1), due_at=LATER), task_row(own_id(2), phase="over", due_at=NOW))
    assert storage.reader.next_task_at(NOW) == LATER
    assert storage.reader.next_task_at(LATER) is None


def test_work_is_seen_when_it_is_there(storage: Storage) -> None:
    assert storage.reader.task_work(NOW) == TaskWork(False, False, False)
    add(storage, task_row(own_id(1), due_at=LATER))
    assert storage.reader.task_work(NOW) == TaskWork(False, False, False)
    assert storage.reader.task_work(LATER) == TaskWork(False, False, True)
    add(storage, task_row(own_id(2), phase="active"))
    run(storage, own_id(2), has_started=False)
    assert storage.reader.task_work(NOW) == TaskWork(False, False, False)
    add(storage, task_row(own_id(3), phase="active"))
    run(storage, own_id(3))
    assert storage.reader.task_work(NOW) == TaskWork(False, True, False)
    add(storage, task_row(own_id(4), phase="active", status="running"))
    run(storage, own_id(4), ended_at=LATER)
    assert storage.reader.task_work(NOW) == TaskWork(True, True, False)


def test_started_tasks_are_those_that_do_not_say_so(storage: Storage) -> None:
    rows = [
        task_row(own_id(1), phase="active"),
        task_row(own_id(2), phase="active", status="running"),
        task_row(own_id(3), phase="active", status="cancelled"),
        task_row(own_id(4), phase="over"),
    ]
    add(storage, *rows)
    run(storage, *(row.id for row in rows))
    with storage.begin() as unit:
        assert unit.started_tasks(10) == [(rows[0], NOW + timedelta(seconds=1))]


def test_ended_tasks_are_those_whose_deployment_is_over(storage: Storage) -> None:
    rows = [task_row(own_id(one), phase="active") for one in range(1, 4)]
    add(storage, *rows, task_row(own_id(4), phase="over"))
    run(storage, own_id(1))
    run(storage, own_id(2), own_id(3), own_id(4), ended_at=LATER)
    with storage.begin() as unit:
        assert unit.ended_tasks(1) == [rows[1]]
        assert unit.ended_tasks(10) == rows[1:]


def test_last_attempt_of_a_task_is_given(storage: Storage) -> None:
    run(storage, own_id(1), own_id(2))
    later = attempt("failed", 2, own_id(1))
    save(storage, attempts=[later])
    with storage.begin() as unit:
        found = unit.last_attempts([own_id(1), own_id(2), own_id(3)])
        assert (found[own_id(1)], found[own_id(2)].number, len(found)) == (later, 1, 2)
        assert unit.last_attempts([]) == {}


def test_delays_are_moved_when_the_clock_has_jumped(storage: Storage) -> None:
    add(storage, task_row(own_id(1), due_at=LATER), task_row(own_id(2), phase="over"))
    with storage.begin() as unit:
        unit.shift_times(timedelta(hours=-1))
    found = {row.id: row.due_at for row in storage.reader.tasks(TaskFilter(), limit=5)}
    assert found == {own_id(1): LATER - timedelta(hours=1), own_id(2): NOW}


def test_task_goes_with_its_deployment_when_that_is_pruned(storage: Storage) -> None:
    add(storage, task_row(own_id(1), phase="over", start_at=NOW, end_at=NOW), task_row(own_id(2)))
    run(storage, own_id(1), status="completed", ended_at=NOW)
    with storage.begin() as unit:
        assert unit.prune(unit.ended(LATER, 100)) == [own_id(1)]
    assert [row.id for row in storage.reader.tasks(TaskFilter(), limit=5)] == [own_id(2)]
    assert (storage.reader.payload(own_id(1)), storage.reader.payload(own_id(2))) == ("", "{}")


def test_deployment_stays_when_the_end_of_its_task_is_not_written_down(storage: Storage) -> None:
    add(storage, task_row(own_id(1), phase="active"))
    run(storage, own_id(1), status="completed", ended_at=NOW)
    with storage.begin() as unit:
        assert unit.ended(LATER, 100) == []


def test_tasks_that_never_started_are_pruned_by_their_age(storage: Storage) -> None:
    add(
        storage,
        task_row(own_id(1), phase="over", status="cancelled", end_at=NOW),
        task_row(own_id(2), phase="over", status="cancelled", end_at=LATER),
        task_row(own_id(3), phase="over", start_at=NOW, end_at=NOW),
        task_row(own_id(4), phase="over", end_at=NOW),
        task_row(own_id(5)),
        task_row(own_id(6), phase="over", end_at=NOW),
    )
    save(storage, created=[(deployment(own_id(4), ended_at=NOW), b"{}")])
    with storage.begin() as unit:
        assert [unit.prune_tasks(LATER, 1) for _ in range(3)] == [1, 1, 0]
    left = {row.id for row in storage.reader.tasks(TaskFilter(), limit=9)}
    assert left == {own_id(one) for one in (2, 3, 4, 5)}
    assert storage.reader.payload(own_id(1)) == ""

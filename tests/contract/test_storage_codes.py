"""Projects, codes, their packages and schedules, on both engines."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from reworker.errors import StorageError
from reworker.storage.contract import Storage
from tests.contract.storage_kit import NOW
from tests.contract.task_kit import (
    CODE,
    PROJECT,
    REVISION,
    SCHEDULE,
    code_row,
    own_id,
    project_row,
    revision_row,
    schedule_row,
    task_row,
)

LATER = NOW + timedelta(seconds=10)


def test_projects_are_found_by_id_and_name_and_have_a_name_of_their_own(storage: Storage) -> None:
    # One that is called like the id of another: an id counts first.
    rows = [project_row(name="web é"), project_row(own_id(2), name=PROJECT), project_row(own_id(3), "a")]
    with storage.begin() as unit:
        for row in rows:
            unit.add_project(row)
    reader = storage.reader
    assert (reader.project(PROJECT), reader.project("web é"), reader.project("?")) == (rows[0], rows[0], None)
    assert [row.name for row in reader.projects(limit=2)] == ["a", PROJECT]
    assert [row.name for row in reader.projects(limit=2, offset=2)] == ["web é"]
    with pytest.raises(StorageError, match="refuses"), storage.begin() as unit:
        unit.add_project(project_row(own_id(4), name="a"))


def test_code_is_found_as_it_was_stored_and_changed(storage: Storage) -> None:
    row = code_row()
    with storage.begin() as unit:
        assert (unit.lock_code(PROJECT, "Fib"), unit.lock_codes([CODE]), unit.lock_codes([])) == (
            None,
            {},
            {},
        )
        unit.put_code(row)
        assert (unit.lock_code(PROJECT, "Fib"), unit.lock_codes([CODE])) == (row, {CODE: row})
    changed = msgspec.structs.replace(
        row, rev=2, revision_id=own_id(5), options=b'{"retries":3}', is_paused=True, updated_at=LATER
    )
    with storage.begin() as unit:
        unit.put_code(changed)
    assert (storage.reader.code(CODE), storage.reader.code_named(PROJECT, "Fib")) == (changed, changed)
    assert (storage.reader.code(own_id(1)), storage.reader.code_named(own_id(1), "Fib")) == (None, None)


def test_name_of_a_code_is_free_when_that_was_deleted(storage: Storage) -> None:
    old, new = code_row(archived_at=NOW), code_row(own_id(2))
    with storage.begin() as unit:
        unit.put_code(old)
        assert unit.lock_code(PROJECT, "Fib") is None
        unit.put_code(new)
    reader = storage.reader
    assert (reader.code(CODE), reader.code_named(PROJECT, "Fib")) == (old, new)
    assert reader.codes(PROJECT, limit=5) == [new]
    with pytest.raises(StorageError, match="refuses"), storage.begin() as unit:
        unit.put_code(code_row(own_id(3)))


def test_codes_are_listed_newest_first_of_a_project_or_all(storage: Storage) -> None:
    rows = [code_row(own_id(one), name=f"c{one}") for one in range(1, 4)]
    other = code_row(own_id(4), project_id=own_id(9))
    with storage.begin() as unit:
        for row in (*rows, other):
            unit.put_code(row)
    reader = storage.reader
    assert reader.codes(PROJECT, limit=2) == [rows[2], rows[1]]
    assert reader.codes(PROJECT, limit=2, offset=2) == [rows[0]]
    assert reader.codes("", limit=2) == [other, rows[2]]


def test_revisions_are_found_by_id_and_number(storage: Storage) -> None:
    rows = [revision_row(own_id(one), rev=one) for one in range(1, 4)]
    with storage.begin() as unit:
        for row in rows:
            unit.add_revision(row)
    reader = storage.reader
    assert (reader.revision(own_id(2)), reader.revision(own_id(9))) == (rows[1], None)
    assert (reader.revision_of(CODE, 3), reader.revision_of(CODE, 4)) == (rows[2], None)
    assert reader.revisions(CODE, limit=2) == [rows[2], rows[1]]
    assert reader.revisions(CODE, limit=2, offset=2) == [rows[0]]
    with pytest.raises(StorageError, match="refuses"), storage.begin() as unit:
        unit.add_revision(revision_row(own_id(8), rev=3))


def test_package_is_given_back_piece_by_piece(storage: Storage) -> None:
    packages = storage.packages
    pieces = [bytes([number]) * 70_000 for number in range(12)]
    for number, piece in enumerate(pieces):
        packages.add(REVISION, number, piece)
    packages.add(own_id(1), 0, b"")
    assert list(packages.pieces(REVISION)) == pieces
    assert (list(packages.pieces(own_id(1))), list(packages.pieces(own_id(2)))) == ([b""], [])
    with pytest.raises(StorageError, match="refuses"):
        packages.add(REVISION, 0, b"again")
    assert packages.ids("", 5) == [own_id(1), REVISION]
    assert (packages.ids(own_id(1), 5), packages.ids("", 1)) == ([REVISION], [own_id(1)])
    packages.remove(REVISION)
    packages.remove(REVISION)
    assert (list(packages.pieces(REVISION)), packages.ids("", 5)) == ([], [own_id(1)])


def test_packages_are_needed_when_a_code_or_an_open_task_has_them(storage: Storage) -> None:
    codes = [
        code_row(own_id(1), name="kept"),
        code_row(own_id(2), name="gone", archived_at=NOW),
        code_row(own_id(3), name="runs", archived_at=NOW),
    ]
    with storage.begin() as unit:
        for number, row in enumerate(codes, 1):
            unit.put_code(row)
            unit.add_revision(revision_row(own_id(10 + number), code_id=row.id))
            unit.add_revision(revision_row(own_id(20 + number), code_id=row.id, rev=2))
        tasks = [
            task_row(own_id(31), code_id=own_id(2), phase="over"),
            task_row(own_id(32), code_id=own_id(3), phase="active"),
        ]
        unit.add_tasks(tasks, ["", ""])
    ids = [own_id(one) for one in (11, 12, 13, 21, 22, 23, 99)]
    needed = {own_id(one) for one in (11, 13, 21, 23)}
    assert storage.reader.needed_packages(ids) == needed
    assert storage.reader.needed_packages([]) == set()


def test_schedule_is_given_back_as_it_was_when_stored_and_changed(storage: Storage) -> None:
    row = schedule_row(payload="é\x00", cron="* * * * *", time_zone="Europe/Vienna", end_at=LATER)
    with storage.begin() as unit:
        unit.add_schedules([])
        unit.save_schedules([])
        unit.add_schedules([row])
    assert (storage.reader.schedule(SCHEDULE), storage.reader.schedule(own_id(1))) == (row, None)
    changed = msgspec.structs.replace(
        row,
        code_name="Other",
        payload="",
        status="complete",
        start_at=None,
        end_at=None,
        next_at=None,
        last_at=LATER,
        run_every_s=120.0,
        cron="",
        time_zone="",
        run_times=3,
        run_count=3,
        missed="all",
        msg="Ran max times.",
        label="x",
        options=b'{"priority":1}',
        updated_at=LATER,
    )
    with storage.begin() as unit:
        assert (unit.lock_schedule(SCHEDULE), unit.lock_schedule(own_id(1))) == (row, None)
        unit.save_schedules([changed])
    assert storage.reader.schedule(SCHEDULE) == changed


def test_schedules_are_listed_and_counted(storage: Storage) -> None:
    rows = [
        schedule_row(own_id(1)),
        schedule_row(own_id(2), None, status="complete"),
        schedule_row(own_id(3)),
        schedule_row(own_id(4), project_id=own_id(9)),
    ]
    with storage.begin() as unit:
        unit.add_schedules(rows)
    reader = storage.reader
    assert reader.schedules(PROJECT, limit=2) == [rows[2], rows[1]]
    assert reader.schedules(PROJECT, limit=2, offset=2) == [rows[0]]
    assert reader.schedules("", limit=9, status="scheduled") == [rows[3], rows[2], rows[0]]
    assert reader.schedule_counts(PROJECT) == {"scheduled": 2, "complete": 1}
    assert reader.schedule_counts("") == {"scheduled": 3, "complete": 1}


def test_due_schedules_come_longest_overdue_first(storage: Storage) -> None:
    rows = [schedule_row(own_id(1), due_s=5), schedule_row(own_id(2), due_s=0), schedule_row(own_id(3), None)]
    with storage.begin() as unit:
        unit.add_schedules(rows)
    reader = storage.reader
    early = NOW - timedelta(seconds=1)
    assert (reader.has_due_schedules(early), reader.has_due_schedules(NOW)) == (False, True)
    assert reader.next_task_at(NOW) == NOW + timedelta(seconds=5)
    with storage.begin() as unit:
        assert unit.due_schedules(NOW, 5) == [rows[1]]
        assert unit.due_schedules(LATER, 5) == [rows[1], rows[0]]
        assert unit.due_schedules(LATER, 1) == [rows[1]]


def test_schedules_that_fired_in_the_future_are_found_when_they_go_on(storage: Storage) -> None:
    rows = [
        schedule_row(own_id(1), last_at=LATER),
        schedule_row(own_id(2), last_at=NOW),
        schedule_row(own_id(3), None, last_at=LATER),
        schedule_row(own_id(4)),
    ]
    with storage.begin() as unit:
        unit.add_schedules(rows)
        assert unit.schedules_ahead(NOW) == [rows[0]]


def test_schedules_that_are_over_are_pruned_by_their_age(storage: Storage) -> None:
    rows = [
        schedule_row(own_id(1), None, status="complete"),
        schedule_row(own_id(2), None, status="cancelled"),
        schedule_row(own_id(3), None, status="complete", updated_at=LATER),
        schedule_row(own_id(4)),
    ]
    with storage.begin() as unit:
        unit.add_schedules(rows)
        assert [unit.prune_schedules(LATER, 1) for _ in range(3)] == [1, 1, 0]
    assert storage.reader.schedules("", limit=9) == [rows[3], rows[2]]

"""The storage contract: what the doctor reads, and by how much times were moved, on each engine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from reworker.errors import StorageUnavailable
from reworker.storage.contract import LockRow, Storage
from reworker.storage.schema import SCHEMA_VERSION
from tests.contract.storage_kit import NOW, OTHER, OWN, message, save, timer


def test_report_names_the_engine_and_finds_nothing_wrong(storage: Storage) -> None:
    report = storage.report()
    assert report.engine.startswith(("SQLite 3", "PostgreSQL 1"))
    assert f"schema {SCHEMA_VERSION}" in report.engine
    assert report.size_bytes > 0
    assert report.problems == ()


def test_timers_and_messages_are_shown_the_oldest_first(storage: Storage) -> None:
    timers = [timer(after_s=5), timer(own_id=OTHER, after_s=-5)]
    rows = [message(OWN), message(OTHER, age_s=60)]
    save(storage, timers_set=timers, outbox_added=rows)
    assert storage.reader.timers() == timers[::-1]
    found = storage.reader.outbox()
    assert [row.id for row in found] == [rows[1].id, rows[0].id]
    assert [(row.routing_key, row.created_at) for row in found] == [
        (row.routing_key, row.created_at) for row in rows[::-1]
    ]


def test_locks_are_shown_with_their_holder_before_those_who_wait(storage: Storage) -> None:
    with storage.begin() as unit:
        fence = unit.take_locks(OWN, ["host:b", "host:a"], NOW).fence
        unit.take_locks(OTHER, ["host:b"], NOW)
    found = storage.reader.locks()
    assert [(row.name, row.deployment_id, row.is_held) for row in found] == [
        ("host:a", OWN, True),
        ("host:b", OWN, True),
        ("host:b", OTHER, False),
    ]
    assert isinstance(found[0], LockRow)
    assert found[0].number == fence


def test_holder_is_shown_first_when_its_lock_was_given_long_after_the_others_had_asked(
    storage: Storage,
) -> None:
    with storage.begin() as unit:
        unit.take_locks("first", ["host:a"], NOW)
        unit.take_locks("holder", ["host:a", "host:b"], NOW)
        unit.take_locks("last", ["host:b"], NOW)
        for number in range(5):
            unit.take_locks(f"other-{number}", [f"host:{number}"], NOW)
        unit.drop_locks("first")
        unit.take_locks("holder", ["host:a", "host:b"], NOW)
    found = [row.deployment_id for row in storage.reader.locks() if row.name == "host:b"]
    assert found == ["holder", "last"]


def test_shift_of_the_clock_is_noted_for_all_cores(open_storage: Callable[[], Storage]) -> None:
    one, other = open_storage(), open_storage()
    with one.begin() as unit:
        assert unit.shifted_s() == 0
        unit.note_shift(-3600.5)
    with other.begin() as unit:
        assert unit.shifted_s() == -3600.5
        unit.note_shift(12)
    with one.begin() as unit:
        assert unit.shifted_s() == 12


def test_nobody_else_notes_a_shift_until_the_transaction_ends(open_storage: Callable[[], Storage]) -> None:
    one, other = open_storage(), open_storage()
    with one.begin() as unit:
        unit.shifted_s()
        with pytest.raises(StorageUnavailable), other.begin() as second:
            second.shifted_s()
        unit.shift_times(timedelta(hours=1))

"""The storage contract for the picture of a deployment."""

from __future__ import annotations

import msgspec

from reworker.storage.contract import MarkRow, Storage
from reworker.storage.rows import EventRow, PlaybookRow
from tests.contract.storage_kit import NOW, OTHER, OWN, attempt, deployment, event, save


def test_marks_are_what_says_more_than_that_a_step_completed(storage: Storage) -> None:
    rows = [
        attempt("completed", 1),
        attempt("failed", 2),
        msgspec.structs.replace(attempt("completed", 3), role="rollback"),
        msgspec.structs.replace(attempt("started", 4), percent=40.0),
    ]
    save(storage, created=[(deployment(), b"{}"), (deployment(OTHER), b"{}")])
    save(storage, attempts=[*rows, attempt("failed", 1, OTHER)])
    assert storage.reader.marks(OWN) == [
        MarkRow(2, rows[1].step_index, "step", "failed", None),
        MarkRow(3, rows[2].step_index, "rollback", "completed", None),
        MarkRow(4, rows[3].step_index, "step", "started", 40.0),
    ]


def test_attempts_are_found_by_number_and_by_stretch_of_the_plan(storage: Storage) -> None:
    rows = [msgspec.structs.replace(attempt("failed", n), step_index=n // 2) for n in range(1, 7)]
    save(storage, created=[(deployment(), b"{}")])
    save(storage, attempts=rows)
    reader = storage.reader
    assert reader.attempts_numbered(OWN, {2, 5, 99}) == [rows[1], rows[4]]
    assert reader.attempts_between(OWN, 1, 3, limit=3) == rows[2:5]
    assert reader.attempts_between(OTHER, 0, 9, limit=9) == []


def test_events_about_an_attempt_are_found_by_its_whole_number(storage: Storage) -> None:
    bodies = [b'{"attempt":1}', b'{"attempt":12,"message":"x"}', b'{"attempt":2}', b'{"fence":1}']
    rows: list[EventRow] = [
        msgspec.structs.replace(event(place + 1), data=body) for place, body in enumerate(bodies)
    ]
    save(storage, created=[(deployment(), b"{}")])
    save(storage, events=rows)
    found = {n: [one.seq for one in storage.reader.events_about(OWN, n, limit=9)] for n in (1, 2, 12)}
    assert found == {1: [1], 2: [3], 12: [2]}


def test_version_of_a_playbook_is_found_by_its_digest(storage: Storage) -> None:
    with storage.begin() as unit:
        for version, digest in ((1, "a"), (2, "b"), (3, "a")):
            unit.add_playbook(PlaybookRow(OWN, version, "g", "n", digest * 64, "text", "ann", NOW))
    reader = storage.reader
    assert [reader.playbook_version(OWN, digest * 64) for digest in "abc"] == [3, 2, 0]
    assert reader.playbook_version(OTHER, "a" * 64) == 0

"""The storage contract for definitions of task types."""

from __future__ import annotations

from datetime import timedelta

from reworker.storage.contract import Storage
from tests.contract.storage_kit import NOW
from tests.contract.task_kit import definition_row

LATER = NOW + timedelta(hours=1)


def test_definition_is_there_as_it_was_put(storage: Storage) -> None:
    rows = [definition_row("a"), definition_row("b\x00\u00e9/", actor="\u00e9")]
    with storage.begin() as unit:
        for row in reversed(rows):
            unit.put_definition(row)
    assert storage.reader.definitions() == rows
    assert [storage.reader.definition(row.name) for row in rows] == rows
    assert storage.reader.definition("c") is None


def test_definition_keeps_its_time_of_creation_when_it_is_put_again(storage: Storage) -> None:
    with storage.begin() as unit:
        unit.put_definition(definition_row("a"))
    other = definition_row("a", document=b"{}", actor="bob", created_at=LATER, updated_at=LATER)
    with storage.begin() as unit:
        unit.put_definition(other)
    found = storage.reader.definition("a")
    assert found == definition_row("a", document=b"{}", actor="bob", updated_at=LATER)


def test_definition_is_gone_when_it_is_dropped(storage: Storage) -> None:
    with storage.begin() as unit:
        unit.put_definition(definition_row("a"))
    with storage.begin() as unit:
        assert (unit.drop_definition("a"), unit.drop_definition("a")) == (True, False)
    assert storage.reader.definitions() == []

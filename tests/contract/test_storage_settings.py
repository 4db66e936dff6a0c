"""The storage contract: settings that all processes share, and playbooks that were removed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from reworker.storage.contract import PlaybookRow, Storage
from tests.contract.storage_kit import NOW, OTHER, OWN


def test_setting_is_read_by_others_as_it_was_saved_last(open_storage: Callable[[], Storage]) -> None:
    first, second = open_storage(), open_storage()
    assert second.reader.setting("rules") is None
    for value in (b'{"a": "\xc3\xa9"}', b"{}"):
        with first.begin() as unit:
            unit.save_setting("rules", value)
        assert second.reader.setting("rules") == value
    assert second.reader.setting("other") is None


def test_setting_is_saved_when_several_save_it_at_once(open_storage: Callable[..., Storage]) -> None:
    storages = [open_storage(wait_s=30) for _ in range(4)]
    start = threading.Barrier(len(storages))

    def save(storage: Storage) -> None:
        start.wait()
        with storage.begin() as unit:
            unit.save_setting("rules", b"{}")

    with ThreadPoolExecutor(len(storages)) as pool:
        list(pool.map(save, storages))
    assert storages[0].reader.setting("rules") == b"{}"


def test_setting_does_not_touch_what_the_database_knows_of_itself(
    open_storage: Callable[[], Storage],
) -> None:
    with open_storage().begin() as unit:
        unit.save_setting("schema_version", b"999")
    assert open_storage().reader.setting("schema_version") == b"999"


def test_playbook_is_not_listed_when_its_newest_version_has_no_text(storage: Storage) -> None:
    rows = [
        PlaybookRow(own_id, version, "web", "a playbook", "d", text, "ann", NOW)
        for own_id, version, text in ((OWN, 1, "text"), (OWN, 2, ""), (OTHER, 1, ""), (OTHER, 2, "text"))
    ]
    with storage.begin() as unit:
        for row in rows:
            unit.add_playbook(row)
    assert storage.reader.playbooks() == [rows[3]]
    assert storage.reader.playbooks(group="web") == [rows[3]]

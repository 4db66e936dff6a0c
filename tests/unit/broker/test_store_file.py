"""The file of the embedded broker: messages may hold secrets."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

from reworker.broker.store import Store


def test_file_is_for_its_owner_alone_when_it_is_made(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "broker.db", 0.0)):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes["broker.db"] == 0o600
    assert set(modes.values()) == {0o600}

"""When a look at a database's log says enough, and when the database has to be asked."""

from __future__ import annotations

import os
from pathlib import Path

from reworker.storage.sqlite import TICK_S, Journal
from reworker.testing.clock import FakeClock


def write(path: Path, text: bytes, at_ns: int) -> None:
    log = path.with_name(f"{path.name}-wal")
    log.write_bytes(text)
    os.utime(log, ns=(at_ns, at_ns))


def test_log_says_nothing_until_its_file_system_would_tell_two_writes_apart(tmp_path: Path) -> None:
    clock, path = FakeClock(), tmp_path / "x.db"
    journal = Journal(path, clock)
    assert not journal.is_still(), "there is no log"
    write(path, b"a", 1)
    assert not journal.is_still()
    clock.advance(TICK_S / 2)
    assert not journal.is_still(), "another write may have the same time"
    clock.advance(TICK_S)
    assert not journal.is_still(), "nobody has looked since"
    assert journal.is_still()
    write(path, b"a", 2)
    assert not journal.is_still()
    clock.advance(2 * TICK_S)
    assert [journal.is_still(), journal.is_still()] == [False, True]
    write(path, b"ab", 2)
    assert not journal.is_still()

"""Finished attempts: in memory and in a file shared by processes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker import ledger as ledgers
from reworker.errors import ConfigError
from reworker.ledger import FileLedger, Finished, Ledger, MemoryLedger, open_ledger
from reworker.testing import FakeClock

DONE = Finished("completed", b'{"status":"completed"}')
FAILED = Finished("failed", b'{"status":"failed"}')


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    made = open_ledger(str(tmp_path / "deep" / "ledger.db") if request.param == "file" else "")
    yield made
    made.close()
    made.close()


def test_first_final_reply_is_kept_when_recorded_twice(ledger: Ledger) -> None:
    assert ledger.find("a") is None
    ledger.record("a", DONE)
    ledger.record("a", FAILED)
    assert ledger.find("a") == ledger.find("a", is_redelivered=False) == DONE


def test_attempt_is_gone_when_forgotten(ledger: Ledger) -> None:
    ledger.record("a", DONE)
    ledger.forget("a")
    ledger.forget("unknown")
    assert ledger.find("a") is None


def test_returns_are_counted_when_an_attempt_comes_back(ledger: Ledger) -> None:
    assert [ledger.count_loss("a"), ledger.count_loss("b"), ledger.count_loss("a")] == [1, 1, 2]


def test_memory_forgets_the_oldest_when_full() -> None:
    ledger = MemoryLedger(max_count=2)
    for key in "abc":
        ledger.record(key, DONE)
        ledger.count_loss(key)
    assert [ledger.find(key) for key in "abc"] == [None, DONE, DONE]
    assert [ledger.count_loss("c"), ledger.count_loss("a")] == [2, 1]


def test_other_processes_attempt_is_found_when_redelivered(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.db")
    first, second = FileLedger(path), FileLedger(path)
    first.record("a", DONE)
    assert second.find("a") == DONE
    assert second.find("a", is_redelivered=False) is None
    first.close()
    second.close()


def test_old_attempts_are_swept_when_many_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "SWEEP_EVERY", 2)
    clock, path = FakeClock(), str(tmp_path / "ledger.db")
    first = FileLedger(path, clock=clock, max_age_s=60)
    first.record("a", DONE)
    clock.advance(61)
    first.record("b", DONE)
    second = FileLedger(path, clock=clock)
    assert (second.find("a"), second.find("b")) == (None, DONE)
    first.close()
    second.close()


def test_ledger_is_refused_when_its_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="ledger: cannot open the ledger"):
        open_ledger(str(tmp_path / "file" / "ledger.db"))


def test_losses_are_forgotten_when_a_job_has_ended(ledger: Ledger) -> None:
    ledger.count_loss("a")
    ledger.forget_losses("a")
    ledger.forget_losses("unknown")
    assert ledger.count_loss("a") == 1


def test_losses_of_other_processes_count_when_they_share_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.db")
    first, second = FileLedger(path), FileLedger(path)
    assert [first.count_loss("a"), second.count_loss("a"), first.count_loss("a")] == [1, 2, 3]
    first.close()
    second.close()


def test_memory_is_bounded_by_the_size_of_the_replies() -> None:
    ledger = MemoryLedger(max_bytes=100)
    for key in "abc":
        ledger.record(key, Finished("completed", b"x" * 40))
    ledger.record("c", Finished("completed", b"x" * 40))
    assert [ledger.find(key) is not None for key in "abc"] == [False, True, True]
    ledger.forget("b")
    ledger.record("d", Finished("completed", b"x" * 60))
    assert [ledger.find(key) is not None for key in "cd"] == [True, True]


def test_file_keeps_no_more_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "SWEEP_EVERY", 5)
    clock, path = FakeClock(), str(tmp_path / "ledger.db")
    first = FileLedger(path, clock=clock, max_count=3)
    for key in "abcde":
        first.record(key, DONE)
        clock.advance(1)
    other = FileLedger(path, clock=clock, max_count=2)
    assert [other.find(key) is not None for key in "abcde"] == [False, False, False, True, True]
    first.close()
    other.close()


def test_old_attempts_are_swept_when_a_file_is_opened(tmp_path: Path) -> None:
    clock, path = FakeClock(), str(tmp_path / "ledger.db")
    first = FileLedger(path, clock=clock)
    first.record("a", DONE)
    first.close()
    clock.advance(ledgers.MAX_AGE_S + 1)
    second = FileLedger(path, clock=clock)
    assert second.find("a") is None
    second.close()


def test_ledger_is_refused_when_its_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("something else, and long enough to be read as a header" * 20)
    with pytest.raises(ConfigError, match="not a database; name a file that can be written, or none"):
        open_ledger(str(tmp_path / "ledger.db"))


def test_worker_goes_on_and_is_told_once_when_the_file_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "ledger.db")
    ledger, other = FileLedger(path), sqlite3.connect(path, isolation_level=None)
    other.execute("DROP TABLE finished")
    other.execute("DROP TABLE returned")
    ledger.record("a", DONE)
    ledger.record("b", DONE)
    ledger.forget("b")
    assert [ledger.find("a"), ledger.find("b"), ledger.find("c")] == [DONE, None, None]
    assert caplog.text.count("ledger.db fails (no such table: finished)") == 1
    assert [ledger.count_loss("a"), ledger.count_loss("a")] == [1, 2], "this process still counts"
    other.executescript(ledgers._SCHEMA)
    ledger.record("d", DONE)
    assert "works again" in caplog.text
    assert FileLedger(path).find("d") == DONE
    other.close()
    ledger.close()


@pytest.mark.parametrize("key", ["a\udcff", "b\udcff#12", "c\x00", "d\u202e", "é"])
def test_attempt_is_found_whatever_its_correlation_id_holds(tmp_path: Path, key: str) -> None:
    """SQLite takes no text that is no UTF-8; the job's final reply would never have been sent."""
    path = str(tmp_path / "ledger.db")
    first, second = FileLedger(path), FileLedger(path)
    first.record(key, DONE)
    assert (first.find(key), second.find(key)) == (DONE, DONE)
    assert [first.count_loss(key), second.count_loss(key)] == [1, 2]
    second.forget_losses(key)
    assert second.count_loss(key) == 1
    second.forget(key)
    assert FileLedger(path).find(key) is None

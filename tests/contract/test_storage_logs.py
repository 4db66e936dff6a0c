"""Lines of output: the contract of their store, on each engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reworker.storage.contract import LogRow, LogStore
from reworker.storage.opening import open_logs

ROWS = [LogRow("a", 1, 3, b"[1,2,3]"), LogRow("a", 4, 2, b"[4,5]"), LogRow("b", 1, 1, b'["\\u0000"]')]


@pytest.fixture
def logs(any_database_url: str) -> Iterator[LogStore]:
    made = open_logs(any_database_url)
    made.add(ROWS)
    made.add(())
    yield made
    made.close()
    made.close()


def test_log_gives_the_chunks_that_hold_lines_after_a_number(logs: LogStore) -> None:
    assert logs.lines("a") == ROWS[:2]
    assert logs.lines("a", after_no=2) == ROWS[:2], "the first chunk holds line 3"
    assert logs.lines("a", after_no=3) == [ROWS[1]]
    assert logs.lines("a", limit=2) == [ROWS[0]]
    assert logs.lines("a", after_no=2, limit=2) == ROWS[:2], "one line of the first chunk is not enough"
    assert logs.lines("a", after_no=5) == []
    assert logs.lines("b") == [ROWS[2]]


def test_log_knows_its_last_lines_and_sizes(logs: LogStore) -> None:
    assert logs.last_nos(["a", "b", "c"]) == {"a": (5, 12), "b": (1, 10)}
    assert logs.last_nos([]) == {}


def test_log_gives_the_last_chunks_in_order(logs: LogStore) -> None:
    assert logs.last_lines("a", limit=1) == [ROWS[1]]
    assert logs.last_lines("a", limit=2) == [ROWS[1]]
    assert logs.last_lines("a", limit=3) == ROWS[:2]
    assert logs.last_lines("a", limit=1000) == ROWS[:2]
    assert logs.last_lines("c", limit=1) == []


def test_head_grows_when_lines_are_added(logs: LogStore) -> None:
    before = logs.heads(["a", "b", "c"])
    assert set(before) == {"a", "b"}
    logs.add([LogRow("a", 6, 1, b"[6]")])
    after = logs.heads(["a", "b", "c"])
    assert after["a"] > before["a"]
    assert after["b"] == before["b"]
    assert logs.heads([]) == {}


def test_lines_are_gone_when_removed(logs: LogStore) -> None:
    assert logs.remove("a", limit=1), "there is more"
    assert logs.lines("a") == [ROWS[1]]
    assert not logs.remove("a", limit=2)
    assert not logs.remove("c", limit=1)
    assert (logs.lines("a"), logs.lines("b")) == ([], [ROWS[2]])

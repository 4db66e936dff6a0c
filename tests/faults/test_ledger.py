"""A worker whose ledger cannot be written: it says so, goes on, and uses the file again when that works."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.worker_support import SCRIPTED, FakeCore, start_scripted
from tests.support.processes import Process
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault

Start = Callable[..., Process]


@pytest.fixture
def core(broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(broker_url) as made:
        yield made


def finished_count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM finished").fetchone()[0])


def test_worker_goes_on_when_its_ledger_cannot_be_written(
    process: Start, core: FakeCore, broker_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    worker = start_scripted(process, broker_url, REWORKER_LEDGER=str(path))
    core.wait(core.send(1), "started", "completed")
    own, none = resource.RLIM_INFINITY, 0
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (none, own))
    for number in range(2, 6):
        core.wait(core.send(number), "started", "completed")
    worker.wait_for_line(r"the ledger \S+ fails \((disk I/O error|database or disk is full)\)")
    core.send(5)
    wait_until(lambda: core.statuses(f"{5:024x}.1").count("completed") == 2)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (own, own))
    core.wait(core.send(6), "started", "completed")
    worker.wait_for_line(r"the ledger \S+ works again")
    assert worker.output.count(" fails (") == 1
    wait_until(lambda: finished_count(path) == 2)
    assert worker.terminate() == 0


def test_worker_says_why_when_its_ledger_cannot_be_opened(
    process: Start, broker_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "ledger.db"
    folder.mkdir()
    worker = process(*SCRIPTED, broker_url, environment={"REWORKER_LEDGER": str(folder)})
    assert worker.wait() == 2
    assert f"{folder}: ledger: cannot open the ledger: unable to open database file" in worker.output


def test_step_is_answered_once_more_when_another_process_had_finished_it(
    process: Start, core: FakeCore, broker_url: str, tmp_path: Path
) -> None:
    environment = {"REWORKER_LEDGER": str(tmp_path / "ledger.db")}
    first = start_scripted(process, broker_url, **environment, REWORKER_FAULT="worker.before-ack:1")
    attempt = core.send(1, outcome="complete")
    first.wait()
    start_scripted(process, broker_url, **environment)
    wait_until(lambda: core.statuses(attempt).count("completed") == 2)
    assert "unknown" not in core.statuses(attempt)

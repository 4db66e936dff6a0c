"""The command ``drill`` and what it refuses, its checker, and how a fuse ends a process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from reworker.broker.server import BrokerThread
from reworker.cli.drill import opened_lane
from reworker.cli.wiring import opened_service, opened_storage
from reworker.clock import SystemClock
from reworker.core.service import Service
from reworker.drill.faults import EXIT_CODE, VARIABLE, Action
from reworker.drill.lane import Lane, Site
from reworker.drill.strikes import Blow
from reworker.drill.truth import Fault
from reworker.drill.worker import Mark, marks_in
from tests.conftest import fresh_vhost
from tests.support.processes import Process
from tests.support.waiting import wait_until

PLAYBOOK = json.dumps(
    {"group": "web", "name": "mine", "execution": [{"hosts": ["a"], "steps": ["noop:Run"]}]}
)


def run_drill(process: Callable[..., Process], url: str, db: Path, *options: str) -> Process:
    """Run the command to its end."""
    run = process("-m", "reworker", "drill", "--mq", url, "--db", f"sqlite:///{db}", *options)
    run.wait(90)
    return run


@pytest.mark.fault
@pytest.mark.slow
def test_drill_prints_zeros_when_nothing_goes_wrong(
    process: Callable[..., Process], any_broker_url: str, tmp_path: Path
) -> None:
    run = run_drill(process, any_broker_url, tmp_path / "db", "--kills", "5", "-o", "json")
    assert run.exit_code == 0, run.output
    report = json.loads(run.output.splitlines()[-1])
    assert set(report["faults"].values()) == {0}
    assert set(report["faults"]) == {str(fault) for fault in Fault}
    struck = {name: sum(report[name].values()) for name in ("strikes", "pairs", "interruptions")}
    assert sum(struck.values()) + report["missed_count"] == 5
    assert struck["pairs"] == struck["interruptions"] == 1
    # those that are counted by, and those struck at: three each for processes, one each for connections
    assert sum(report["outcomes"].values()) == 3 * (2 + 3 + 1) + (2 + 1)


def test_drill_is_refused_when_another_core_runs_there(
    process: Callable[..., Process], broker_url: str, tmp_path: Path
) -> None:
    core = process("-m", "reworker", "core", "--mq", broker_url, "--db", f"sqlite:///{tmp_path / 'other'}")
    core.wait_for_line(" runs on ")
    run = run_drill(process, broker_url, tmp_path / "db")
    assert run.exit_code == 2
    assert "re.replies" in run.output
    assert "virtual host" in run.output
    assert core.is_running


def test_drill_is_refused_when_another_core_works_on_the_database(
    process: Callable[..., Process], broker: BrokerThread, tmp_path: Path
) -> None:
    ours, theirs = broker.url(fresh_vhost()), broker.url(fresh_vhost())
    core = process("-m", "reworker", "core", "--mq", theirs, "--db", f"sqlite:///{tmp_path / 'db'}")
    core.wait_for_line(" runs on ")
    with opened_storage(f"sqlite:///{tmp_path / 'db'}") as (storage, _):
        wait_until(storage.reader.instances, message="the core's first sign of life")
    run = run_drill(process, ours, tmp_path / "db")
    assert run.exit_code == 2
    assert "core core" in run.output
    assert core.is_running


def test_drill_is_refused_when_deployments_of_others_are_under_way(
    process: Callable[..., Process], broker_url: str, tmp_path: Path
) -> None:
    with opened_storage(f"sqlite:///{tmp_path / 'db'}") as (storage, logs):
        own_id = Service(storage, logs, SystemClock()).submit(PLAYBOOK)
    run = run_drill(process, broker_url, tmp_path / "db")
    assert run.exit_code == 2
    assert own_id in run.output
    assert "web / mine" in run.output
    with opened_service(f"sqlite:///{tmp_path / 'db'}") as service:
        assert not service.deployment(own_id).is_over


def test_drill_says_why_when_no_broker_answers(process: Callable[..., Process], tmp_path: Path) -> None:
    run = run_drill(process, "amqp://127.0.0.1:1/", tmp_path / "db")
    assert run.exit_code == 5
    assert "127.0.0.1:1" in run.output
    assert "Traceback" not in run.output


@pytest.mark.fault
def test_checker_finds_every_fault_when_what_the_workers_did_is_doctored(
    broker_url: str, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        db = f"sqlite:///{tmp_path / 'db'}"
        storage, logs = stack.enter_context(opened_storage(db))
        service = Service(storage, logs, SystemClock())
        site = Site(mq=broker_url, db=db, folder=tmp_path, storage=storage, service=service)
        lane = stack.enter_context(opened_lane(site, "test"))
        assert lane.strike(Blow("core", "before-ack", 3))
        assert lane.strike(Blow("worker", "after-begin", 2))
        lane.close()
        assert lane.judge() == []
        assert lane.outcomes().keys() <= {"completed", "failed"}
        whole = (tmp_path / "marks").read_bytes()
        shutil.copy(tmp_path / "marks", tmp_path / "whole")
        marks = marks_in(tmp_path / "whole")
        assert judged(lane, tmp_path, []) >= {Fault.LOST}
        assert judged(lane, tmp_path, [*marks, *marks]) >= {Fault.DOUBLED}
        assert judged(lane, tmp_path, marks[::-1]) >= {Fault.DISORDER}
        stranger = msgspec.structs.replace(marks[0], attempt=f"{marks[0].deployment_id}.99")
        assert judged(lane, tmp_path, [*marks, stranger]) >= {Fault.UNTRUE}
        lane.submit("never done: nobody runs any more")
        (tmp_path / "marks").write_bytes(whole)
        assert {problem.fault for problem in lane.judge()} == {Fault.STUCK}


def judged(lane: Lane, folder: Path, marks: list[Mark]) -> set[Fault]:
    """Return which faults are found when the workers had left these marks."""
    (folder / "marks").write_bytes(b"".join(msgspec.json.encode(mark) + b"\n" for mark in marks))
    return {problem.fault for problem in lane.judge()}


def run_with_fuse(text: str, reached: int) -> subprocess.CompletedProcess[str]:
    """Run a process that reaches a point some times, then ends in good order."""
    code = (
        "import atexit, sys; from reworker.drill.faults import fuse_of;"
        "atexit.register(lambda: sys.stdout.write('tidied up'));"
        f"fuse = fuse_of('core', {{'{VARIABLE}': '{text}'}});"
        "sys.stdout.write('buffered');"
        f"[(fuse.reach('before-ack'), fuse.reach('after-ack')) for _ in range({reached})]"
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


def test_process_is_gone_at_once_when_it_passes_the_point_for_the_nth_time() -> None:
    ended = run_with_fuse("core.before-ack:2", 2)
    assert (ended.returncode, ended.stdout) == (EXIT_CODE, ""), "nothing is flushed, nothing tidied up"


def test_process_goes_on_when_it_passes_the_point_less_often() -> None:
    ended = run_with_fuse("core.before-ack:3", 2)
    assert (ended.returncode, ended.stdout) == (0, "bufferedtidied up")


def test_passages_are_told_when_they_are_counted() -> None:
    ended = run_with_fuse(f"core.any:0:{Action.COUNT}", 2)
    assert ended.stderr.splitlines() == ["passed before-ack", "passed after-ack"] * 2

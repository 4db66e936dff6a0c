"""`WorkerHost` and `TaskHandler` before anything is started: whom they run, and what they refuse."""

from __future__ import annotations

import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from reworker.conductor import Configuration, TaskHandler, WorkerHost
from reworker.conductor.functions import workers_in
from reworker.conductor.pausing import PauseWatch, may_pause
from reworker.errors import ConfigError
from reworker.host.plugins import load_worker
from tests.unit.conductor.kit import COMPLETED, Styled, function, station_of

BUS = Configuration(mq="amqp://nobody.invalid/")


def types_in(host: WorkerHost) -> list[str]:
    return sorted(one["worker"] for one in host.get_worker_process_status())


@function()
def decorated() -> None:
    """Is found by `TaskHandler`, being in an imported module."""


def test_host_has_a_process_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    several = Styled(COMPLETED)
    several.task_definition_name = ["a", "b"]  # type: ignore[assignment]  # the SDKs take both
    host = WorkerHost([several, Styled(COMPLETED, "c"), decorated], BUS)
    assert types_in(host) == ["a", "b", "c", "frob"]
    assert host.get_worker_process_status()[0] == {
        "worker": "a",
        "pid": None,
        "alive": False,
        "restart_count": 0,
    }
    assert not host.is_healthy()
    assert types_in(WorkerHost(Styled(COMPLETED, "d"), BUS)) == ["d"]


def test_task_handler_runs_decorated_functions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("decorated_of_test")
    module.one = decorated  # type: ignore[attr-defined]  # it is a module of this test
    monkeypatch.setitem(sys.modules, module.__name__, module)
    handler = TaskHandler([Styled(COMPLETED, "c")], BUS, import_modules=["json"], monitor_processes=True)
    assert {"c", "frob"} <= set(types_in(handler))
    assert types_in(TaskHandler([decorated], BUS, scan_for_annotated_workers=False)) == ["frob"]
    with pytest.raises(TypeError, match="unknown option scan"):
        TaskHandler([decorated], BUS, scan=True)


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        (None, "a host without workers has nothing to do"),
        ([Styled], "expected an object with execute"),
        ([object()], "expected an object with execute"),
        ([Styled(COMPLETED, "no name")], "queue.*expected a name"),
    ],
)
def test_host_refuses_what_is_no_worker(workers: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        WorkerHost(workers, BUS)


def test_host_reads_worker_ini_beside_the_program_when_there_is_none_nearer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "program"
    program.mkdir()
    (program / "worker.ini").write_text("[c]\ndomain = cool\n")
    main = types.ModuleType("__main__")
    main.__file__ = str(program / "main.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    worker = Styled(COMPLETED, "c")
    WorkerHost(worker, BUS)
    assert worker.get_domain() == "cool"
    (tmp_path / "worker.ini").write_text("[c]\ndomain = hot\n")
    WorkerHost(worker, BUS)
    assert worker.get_domain() == "hot"


def test_block_without_start_says_that_nothing_was_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), WorkerHost(decorated, BUS):
        pass
    assert "start_processes() was not called" in caplog.text


def test_host_cannot_be_started_after_it_was_stopped() -> None:
    host = WorkerHost(decorated, BUS)
    host.stop_processes()
    host.stop_processes()
    with pytest.raises(ConfigError, match="make another one"):
        host.start_processes()


def test_name_of_a_decorated_function_is_that_of_a_worker() -> None:
    kind = load_worker(f"{__name__}:decorated")
    assert kind.style is workers_in(decorated)[0]  # type: ignore[attr-defined]  # of adapters


# paused()


class Pool:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def quiet(self) -> None:
        self.told.append("quiet")

    def resume(self) -> None:
        self.told.append("resume")


class Pausing(Styled):
    """Says what it is told to of itself."""

    says: Any = False

    def paused(self) -> bool:
        if isinstance(self.says, Exception):
            raise self.says
        return bool(self.says)


def test_pause_of_a_worker_is_obeyed_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    worker = Pausing(COMPLETED)
    adapter: Any = station_of(worker).worker
    watch, pool = PauseWatch(adapter, False), Pool()
    worker.says = True
    watch.look()  # before there is a pool
    adapter._pool = pool
    for says in (False, True, True, ValueError("no idea"), True, False, False):
        worker.says = says
        watch.look()
    assert pool.told == ["quiet", "resume"]
    assert "paused() of frob failed; nothing changes" in caplog.text


def test_only_workers_with_a_paused_of_their_own_are_asked() -> None:
    assert may_pause(Pausing(COMPLETED))
    assert not may_pause(Styled(COMPLETED))
    assert not may_pause(workers_in(decorated)[0])


@pytest.mark.parametrize("plain", [True, False])
def test_worker_that_is_paused_begins_so(plain: bool) -> None:
    worker = Pausing(COMPLETED)
    worker.says = True
    if plain:
        worker.paused = True  # type: ignore[assignment, method-assign]  # programs of one SDK have it as a value
    assert station_of(worker).worker._settings.paused

"""Daemons under systemd: what they tell its socket, and the units and the container file that we show."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.cli.main import COMMANDS, cli
from reworker.host.endpoint import Endpoint
from reworker.host.health import Report
from reworker.jobs.settings import WorkerSettings
from tests.integration.worker_support import FakeCore, start_scripted
from tests.support.operators import fake_systemd
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
CONF = Path(__file__).parents[2] / "conf"
UNITS = sorted((CONF / "systemd").glob("*.service"))


def settings_of(unit: Path) -> dict[str, str]:
    lines = unit.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_worker_tells_systemd_its_whole_life(process: Start, broker_url: str) -> None:
    address = f"@reworker-{uuid.uuid4().hex}"
    with fake_systemd(address) as systemd, FakeCore(broker_url) as core:
        worker = start_scripted(process, broker_url, NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000")
        systemd.wait_for("READY=1")
        systemd.wait_for("STATUS=consuming")
        systemd.wait_for("WATCHDOG=1", 3)
        worker.send_signal(signal.SIGHUP)
        systemd.wait_for("RELOADING=1")
        systemd.wait_for("MONOTONIC_USEC=")
        systemd.wait_for("READY=1", 2)
        core.wait(core.send(1, outcome="slow", seconds=4), "started")
        worker.send_signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        before = systemd.hear().count("WATCHDOG=1")
        systemd.wait_for("WATCHDOG=1", before + 1)
        assert worker.wait() == 0
        assert systemd.hear().count("STOPPING=1") == 1


def test_worker_works_when_nobody_hears_what_it_tells(
    process: Start, broker_url: str, tmp_path: Path
) -> None:
    with FakeCore(broker_url) as core:
        worker = start_scripted(process, broker_url, NOTIFY_SOCKET=str(tmp_path / "absent"))
        wait_until(lambda: "systemd cannot be told" in worker.output)
        core.wait(core.send(1), "started", "completed")
        assert worker.terminate() == 0
        assert worker.output.count("systemd cannot be told") == 1


@pytest.mark.parametrize("command", ["core", "host"])
def test_core_and_host_tell_systemd_when_they_are_ready_and_stop(
    process: Start, broker_url: str, tmp_path: Path, command: str
) -> None:
    (tmp_path / "host.yaml").write_text("workers: [noop]\n")
    options = {"core": ("--db", str(tmp_path / "core.db")), "host": ("-c", str(tmp_path / "host.yaml"))}
    address = str(tmp_path / "notify")
    with fake_systemd(address) as systemd:
        daemon = process(
            *("-m", "reworker", command, "--mq", broker_url, *options[command]),
            environment={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"},
        )
        systemd.wait_for("READY=1")
        systemd.wait_for("WATCHDOG=1", 2)
        assert daemon.terminate() == 0
        systemd.wait_for("STOPPING=1")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_units_are_right_by_the_word_of_systemd(tmp_path: Path) -> None:
    program = str(Path(sys.executable).parent / "reworker")
    names = []
    for unit in UNITS:
        text = unit.read_text().replace("/opt/reworker/bin/reworker", program)
        names.append(str(tmp_path / unit.name.replace("@", "@sleep")))
        Path(names[-1]).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", *names], capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "reworker" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda one: one.name)
def test_unit_gives_steps_time_and_starts_what_there_is(unit: Path) -> None:
    found = settings_of(unit)
    assert (found["Type"], found["Restart"], found["RestartPreventExitStatus"]) == ("notify", "always", "2")
    assert float(found["WatchdogSec"]) >= 30
    if "core" not in unit.name:
        drain_s = WorkerSettings("x", "x", ()).drain_s
        assert float(found["TimeoutStopSec"]) > drain_s, "a running step is killed before its drain_s"
    _, command, *words = shlex.split(found["ExecStart"])
    assert command in COMMANDS
    known = {option for parameter in cli.get_command(None, command).params for option in parameter.opts}  # type: ignore[union-attr, arg-type]  # it is there, and asks for no context
    assert {word for word in words if word.startswith("-")} <= known


def health_check() -> list[str]:
    """Return the command with which the container file asks for health."""
    text = (CONF / "Containerfile").read_text()
    found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", text, re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    return command


def test_container_asks_for_health_where_it_is_told() -> None:
    _, *arguments = health_check()
    report = Report("w", state="consuming")
    states = [report]
    with Endpoint("0", lambda: states[-1]) as endpoint:
        port = endpoint.url.rpartition(":")[2]
        command = [sys.executable, *(one.replace("9100", port) for one in arguments)]
        assert command[-1] != arguments[-1]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        states.append(Report("w", dead=("deaf",)))
        assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    wait_until(lambda: subprocess.run(command, check=False, capture_output=True).returncode == 1)


def test_container_file_copies_what_is_there_and_runs_as_nobody_special() -> None:
    lines = (CONF / "Containerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    assert [name for names in copied for name in names if not (CONF.parent / name).exists()] == []
    assert [line for line in lines if line.startswith("USER")] == ["USER 10001"]
    assert f"EXPOSE {9100}" in lines

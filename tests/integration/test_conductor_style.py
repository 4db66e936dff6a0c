"""Programs in Conductor's style as processes on real brokers: results, kills, drains, cancels, pauses."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import style_program
from tests.integration.host_support import is_alive
from tests.integration.worker_support import FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
#: for what does not depend on the broker.
EMBEDDED = pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
TYPE_COUNT = 7


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


@pytest.fixture
def start(process: Start, any_broker_url: str) -> Callable[[str], Process]:
    def started(ending: str, **variables: str) -> Process:
        program = process(
            style_program.__file__, ending, environment={"REWORKER_MQ": any_broker_url, **variables}
        )
        for _ in range(TYPE_COUNT if ending == "all" else 1):
            program.wait_for_line(r"consuming worker\.")
        return program

    return started


def final(core: FakeCore, attempt: str, begun_count: int = 1) -> dict[str, Any]:
    """Wait for the last reply of an attempt that may be begun so often, and return it."""
    finals = {"completed", "failed", "cancelled", "unknown"}
    wait_until(lambda: finals & set(core.statuses(attempt)), 30, f"the end of {attempt}")
    own = [one for one in core.replies if one.properties.correlation_id == attempt]
    assert core.statuses(attempt).count("started") <= begun_count
    return dict(json.loads(own[-1].body))


def pids_in(program: Process) -> dict[str, int]:
    return {name: int(pid) for name, pid in re.findall(r"(\S+): started as process (\d+)", program.output)}


def test_each_result_is_the_end_of_its_step_on_each_broker(
    core: FakeCore, start: Callable[..., Process]
) -> None:
    program = start("all")
    assert "http://conductor.invalid/api is not used" in program.output
    sent = {
        "sum": core.send(1, 2, "worker.adding", a=1),
        "text": core.send(2, 2, "worker.adding", a="x"),
        "async": core.send(3, 2, "worker.eu.waiting", seconds=0.01),
        "later": core.send(4, 2, "worker.looking"),
        "later at level 1": core.send(5, 1, "worker.looking"),
        **{
            how: core.send(10 + number, 2, "worker.ending", how=how)
            for number, how in enumerate(
                ["COMPLETED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "raise", "give up", "nothing"]
            )
        },
    }
    found = {name: final(core, attempt) for name, attempt in sent.items()}
    assert found["sum"]["data"]["sum"] == 3
    assert found["text"]["message"] == "wrong input for adding: a: Expected `int`, got `str`"
    assert found["async"]["data"] == {"result": "waited"}
    assert found["later"]["data"] == found["later at level 1"]["data"] == {"seen": [1, 2], "polls": 3}
    assert core.statuses(sent["later at level 1"]) == ["started", "completed"]
    assert found["COMPLETED"]["data"] == {"how": "COMPLETED"}
    assert found["FAILED"]["data"]["output"] == {"how": "FAILED"}
    assert found["FAILED_WITH_TERMINAL_ERROR"]["data"]["terminal"] is True
    assert found["raise"]["message"] == "ValueError: boom"
    assert found["give up"]["message"] == "never again"
    assert (
        found["nothing"]["message"] == "execute() of Ending returned nothing; it has to return a TaskResult"
    )
    assert program.terminate() == 0


@pytest.mark.fault
def test_task_of_a_killed_process_is_unknown_or_executed_again(
    core: FakeCore, start: Callable[..., Process]
) -> None:
    program = start("all")
    unsafe, safe = core.send(1, 2, "worker.dying"), core.send(2, 2, "worker.safe")
    assert final(core, safe, begun_count=2)["status"] == "completed"
    assert final(core, unsafe)["status"] == "unknown"
    program.kill9()
    wait_until(lambda: not any(map(is_alive, pids_in(program).values())), 30, "nobody to be left")


@EMBEDDED
@pytest.mark.parametrize(
    ("ending", "number", "code"),
    [
        ("block", signal.SIGINT, 0),
        ("join", signal.SIGTERM, 0),
        ("last line", signal.SIGTERM, 0),
        ("loop", signal.SIGTERM, 128 + signal.SIGTERM),  # it did something else, and was told to leave that
        ("loop", signal.SIGINT, -signal.SIGINT),
    ],
)
def test_program_drains_however_it_waits(
    ending: str, number: signal.Signals, code: int, core: FakeCore, start: Callable[..., Process]
) -> None:
    program = start(ending)
    running = core.send(1, 2, "worker.adding", a=1, seconds=0.5)
    core.wait_for(running, "started")
    program.send_signal(number)
    assert program.wait() == code
    core.wait(running, "started", "completed")
    assert not any(map(is_alive, pids_in(program).values()))


@EMBEDDED
@pytest.mark.parametrize("ending", ["stop", "error"])
def test_program_drains_when_it_stops_its_workers_itself(
    ending: str, core: FakeCore, start: Callable[..., Process], tmp_path: Path
) -> None:
    program = start(ending)
    running = core.send(1, 2, "worker.adding", a=1, seconds=0.5)
    core.wait_for(running, "started")
    (tmp_path / "stop").touch()
    assert program.wait() == (0 if ending == "stop" else 1)
    core.wait(running, "started", "completed")
    assert ("stopped in the block" in program.output) == (ending == "stop")


@EMBEDDED
def test_tasks_are_cancelled_paused_and_executed_side_by_side(
    core: FakeCore, start: Callable[..., Process], tmp_path: Path
) -> None:
    program = start("all", REWORKER_ENDING_PAUSED="false")
    side_by_side = [core.send(n, 2, "worker.adding", a=n, seconds=2) for n in range(1, 4)]
    sleeping, blocking = core.send(4, 2, "worker.eu.waiting", seconds=60), core.send(5, 2, "worker.blocking")
    for one in (sleeping, blocking):
        core.wait(one, "started")
        type_name = "waiting" if one == sleeping else "blocking"
        core.send_control(f"cancel.{type_name}", {"attempt": one, "reason": "enough"})
    assert final(core, sleeping)["status"] == "cancelled"
    assert final(core, blocking)["data"] == {"cancelled": True}
    threads = {final(core, one)["data"]["thread"] for one in side_by_side}
    assert len(threads) == 3

    (tmp_path / "pause").touch()
    program.wait_for_line("ending: paused by its own paused")
    held = core.send(6, 2, "worker.ending", how="COMPLETED")
    core.send_control("pause.adding", {"reason": "a change"})
    program.wait_for_line("paused: a change")
    (tmp_path / "pause").unlink()
    assert final(core, held)["status"] == "completed"
    also_held = core.send(7, 2, "worker.adding", a=1)
    core.send_control("resume.adding", {"reason": "done"})
    assert final(core, also_held)["status"] == "completed"
    assert core.statuses(held) == ["started", "completed"]


@EMBEDDED
def test_environment_wins_over_file_and_code_in_a_program(
    core: FakeCore, start: Callable[..., Process], tmp_path: Path
) -> None:
    (tmp_path / "worker.ini").write_text("[DEFAULT]\ndomain = nice\n[adding]\npolling_interval = 50\n")
    program = start("block", conductor_worker_adding_domain="hot")
    assert "consuming worker.hot.adding with 3 instances" in program.output
    assert final(core, core.send(1, 2, "worker.hot.adding", a=1))["data"]["sum"] == 3


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080/api", ""])
def test_program_says_what_to_set_when_nothing_names_the_bus(address: str, process: Start) -> None:
    program = process(
        "-c",
        "from reworker.conductor import *\n"
        f"WorkerHost(Worker('adding', print), Configuration(server_api_url={address!r}))",
        environment={"REWORKER_MQ": None, "CONDUCTOR_SERVER_URL": None},
    )
    assert program.wait() == 1
    assert "set REWORKER_MQ, or Configuration(mq=...)" in program.output
    assert (f"{address} is no message bus" in program.output) == bool(address)


def test_config_show_says_where_properties_of_a_decorated_function_come_from(
    process: Start, tmp_path: Path
) -> None:
    source = Path(str(style_program.__file__)).read_text()
    (tmp_path / "program.py").write_text(source)
    (tmp_path / "worker.ini").write_text("[waiting]\ndomain = us\n")
    shown = process(
        *("-m", "reworker", "config", "show", "program:wait"),
        environment={"conductor.worker.waiting.thread_count": "4", "REWORKER_MQ": None},
    )
    assert shown.wait() == 0, shown.output
    assert re.search(r"^domain +us +worker\.ini:2$", shown.output, re.M)
    assert re.search(r"^instances +4 +conductor\.worker\.waiting\.thread_count$", shown.output, re.M)
    assert re.search(r"^queue +waiting +constructor$", shown.output, re.M)


@EMBEDDED
def test_health_and_metrics_of_all_are_told_at_the_port_of_the_metrics_settings(
    core: FakeCore, process: Start, any_broker_url: str
) -> None:
    program = process(
        "-c",
        "from reworker.conductor import *\n"
        "with WorkerHost(Worker('adding', lambda: 1), metrics_settings=MetricsSettings(http_port=0)) as h:\n"
        "    h.start_processes()",
        environment={"REWORKER_MQ": any_broker_url},
    )
    port = program.wait_for_line(r"http://127\.0\.0\.1:(\d+)")[1]
    program.wait_for_line("adding: consuming")
    assert final(core, core.send(1, 2, "worker.adding"))["status"] == "completed"

    def figures() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    for line in (
        'reworker_jobs_total{worker="adding",subcommand="Play",status="completed"} 1',
        'task_execution_started_total{taskType="adding"} 1',
        'task_execute_time_seconds_count{taskType="adding",status="SUCCESS"} 1',
    ):
        wait_until(lambda line=line: line in figures(), 30, line)  # type: ignore[misc]  # bound here

"""Life and end of a worker process: quiet, drain, signals, time limits, replacement, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.broker.server import BrokerThread
from tests.integration import life_worker
from tests.integration.worker_support import READY, FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
KEY = "worker.life"


@pytest.fixture
def core(broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(broker_url) as made:
        yield made


@pytest.fixture
def start(process: Start, broker_url: str) -> Start:
    def started(*arguments: str, **variables: str) -> Process:
        environment = {f"REWORKER_{name.upper()}": value for name, value in variables.items()}
        worker = process(life_worker.__file__, broker_url, *arguments, environment=environment)
        worker.wait_for_line(READY)
        return worker

    return started


def send(core: FakeCore, number: int, subcommand: str, level: int = 2, **parameters: Any) -> str:
    return core.send(number, level, KEY, subcommand=subcommand, **parameters)


def begun(core: FakeCore, number: int, subcommand: str, level: int = 2, **parameters: Any) -> str:
    attempt = send(core, number, subcommand, level, **parameters)
    core.wait_for(attempt, "started")
    return attempt


def final(core: FakeCore, attempt: str) -> dict[str, Any]:
    wait_until(lambda: len(core.statuses(attempt)) == 2, message=f"the end of {attempt}")
    own = [one for one in core.replies if one.properties.correlation_id == attempt]
    return dict(json.loads(own[-1].body))


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, be it that nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def tree_in(file: Path) -> list[int]:
    """Return the processes that a step has started, once all of them have."""
    wait_until(lambda: file.exists() and len(file.read_text().split()) == 2, message="the tree of processes")
    return [int(word) for word in file.read_text().split()]


# time limits


@pytest.mark.parametrize(
    ("subcommand", "level", "status"),
    [("Sleep", 2, "unknown"), ("Swallow", 2, "unknown"), ("SleepAgain", 2, "failed"), ("Sleep", 1, "failed")],
)
def test_process_ends_to_be_replaced_when_a_job_outlives_its_hard_limit(
    start: Start, core: FakeCore, subcommand: str, level: int, status: str
) -> None:
    worker = start(timeout_s="0.3", hard_timeout_s="0.6")
    attempt = begun(core, 1, subcommand, level)
    assert worker.wait() == 75
    assert final(core, attempt)["status"] == status
    assert f"nearly over its limit of 0.3 s: job {attempt}, step {subcommand}" in worker.output
    assert "time.sleep(" in worker.output, "the line of the step that hangs"


@pytest.mark.rabbitmq
def test_jobs_beside_one_that_hangs_are_delivered_again_when_the_process_ends(
    process: Start, rabbitmq_url: str
) -> None:
    environment = {"REWORKER_HARD_TIMEOUT_S": "4", "REWORKER_INSTANCES": "2"}
    with FakeCore(rabbitmq_url) as core:
        worker = process(life_worker.__file__, rabbitmq_url, environment=environment)
        worker.wait_for_line(READY)
        hung = begun(core, 1, "Sleep")
        wait_until(lambda: "nearly over" in worker.output)
        beside = begun(core, 2, "Sleep")
        waiting = [send(core, number, "Do") for number in range(3, 6)]
        assert worker.wait() == 75
        assert final(core, hung)["status"] == "unknown"
        process(life_worker.__file__, rabbitmq_url)
        core.wait(beside, "started", "unknown")
        for one in waiting:
            core.wait(one, "started", "completed")
        assert core.statuses(hung) == ["started", "unknown"], "it does not come back"


@pytest.mark.parametrize("subcommand", ["Shell", "Run"])
def test_job_ends_with_its_processes_when_its_time_is_up(
    start: Start, core: FakeCore, tmp_path: Path, subcommand: str
) -> None:
    worker = start(timeout_s="1.5")
    attempt = begun(core, 1, subcommand, file=str(tmp_path / "pids"))
    pids = tree_in(tmp_path / "pids")
    assert final(core, attempt)["message"] == "ran longer than its limit of 1.5 s"
    wait_until(lambda: all(map(is_gone, pids)))
    assert worker.terminate() == 0


def test_process_ends_when_code_in_c_holds_the_interpreter_past_the_hard_limit(
    start: Start, core: FakeCore
) -> None:
    worker = start(hard_timeout_s="1")
    attempt = begun(core, 1, "Hold")
    assert worker.wait() == 1
    assert "Timeout" in worker.output
    assert "in hold" in worker.output
    start()
    core.wait(attempt, "started", "unknown")


# processes that jobs start


@pytest.mark.fault
def test_no_command_is_left_when_the_worker_is_killed(start: Start, core: FakeCore, tmp_path: Path) -> None:
    worker = start()
    begun(core, 1, "Run", file=str(tmp_path / "pids"))
    pids = tree_in(tmp_path / "pids")
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_until(lambda: all(map(is_gone, pids)))


@pytest.mark.parametrize("subcommand", ["Shell", "Run"])
def test_no_process_is_left_when_the_worker_is_told_to_stop_twice(
    start: Start, core: FakeCore, tmp_path: Path, subcommand: str
) -> None:
    worker = start()
    attempt = begun(core, 1, subcommand, file=str(tmp_path / "pids"))
    pids = tree_in(tmp_path / "pids")
    worker.send_signal(signal.SIGTERM)
    worker.wait_for_line("state: draining")
    worker.send_signal(signal.SIGINT)
    assert worker.wait(30) == 1
    assert f"left behind: job {attempt}, step {subcommand}" in worker.output
    wait_until(lambda: all(map(is_gone, pids)))


def test_processes_of_a_job_end_when_it_is_cancelled_and_no_others(
    start: Start, core: FakeCore, tmp_path: Path
) -> None:
    worker = start("--instances", "2")
    attempts = [begun(core, n, "Shell", file=str(tmp_path / f"pids{n}")) for n in range(2)]
    first, second = (tree_in(tmp_path / f"pids{n}") for n in range(2))
    core.send_control("cancel.life", {"attempt": attempts[0], "reason": "no longer needed"})
    wait_until(lambda: all(map(is_gone, first)))
    core.wait(attempts[0], "started", "completed")
    assert (tmp_path / "pids0.bye").exists(), "it was told before it was killed"
    assert not any(map(is_gone, second))
    worker.kill9()  # with its whole group, and they are in it
    wait_until(lambda: all(map(is_gone, second)))


# signals


def test_unstarted_steps_go_to_others_when_a_worker_is_told_to_be_quiet(start: Start, core: FakeCore) -> None:
    worker = start()
    running = begun(core, 1, "Sleep", seconds=1.0)
    worker.send_signal(signal.SIGUSR2)
    worker.wait_for_line("state: quiet")
    core.wait(running, "started", "completed")
    waiting = send(core, 2, "Do")
    other = start()
    core.wait(waiting, "started", "completed")
    assert final(core, waiting)["data"] == other.pid
    assert worker.terminate() == 0


def test_states_are_told_when_a_worker_lives_and_stops(start: Start, core: FakeCore) -> None:
    worker = start(drain_s="0.2")
    attempt = begun(core, 1, "Sleep")
    worker.send_signal(signal.SIGINT)
    assert worker.wait() == 0
    states = [line.rpartition("state: ")[2] for line in worker.output.splitlines() if "state: " in line]
    assert states == ["consuming", "draining", "stopped"]
    assert f"the drain is over; cancelled: job {attempt}, step Sleep" in worker.output
    core.wait(attempt, "started", "unknown")


def test_stacks_name_the_job_of_each_instance_when_sigusr1_comes(start: Start, core: FakeCore) -> None:
    worker = start("--instances", "2")
    attempt = begun(core, 1, "Sleep")
    worker.send_signal(signal.SIGUSR1)
    worker.wait_for_line("stacks of all threads; consuming")
    worker.wait_for_line("'MainThread'")
    worker.wait_for_line(rf"'worker .*': (job {attempt}, step Sleep, for|no job)")
    worker.wait_for_line(rf"'worker .*': (job {attempt}, step Sleep, for|no job)")
    assert f"job {attempt}" in worker.output
    assert ": no job" in worker.output
    worker.kill9()


def test_process_ends_when_jobs_have_left_threads_that_do_not(start: Start, core: FakeCore) -> None:
    worker = start()
    core.wait(send(core, 1, "LeaveThread"), "started", "completed")
    assert worker.terminate() == 0
    assert "jobs have left threads, they end now: left, executor_0" in worker.output


def test_folder_and_handlers_are_put_back_when_a_job_has_changed_them(start: Start, core: FakeCore) -> None:
    worker = start()
    first = send(core, 1, "Rudeness")
    worker.wait_for_line("working folder to /; it is put back")
    worker.wait_for_line("handler of SIGTERM; it is put back")
    second = send(core, 2, "Rudeness")
    assert final(core, first)["data"] == final(core, second)["data"]
    worker.wait_for_line("handler of SIGTERM; it is put back")
    assert worker.terminate() == 0


def test_log_and_streams_are_there_for_the_next_job_when_one_has_closed_them(
    start: Start, core: FakeCore
) -> None:
    worker = start()
    final(core, send(core, 1, "CloseStreams"))
    worker.wait_for_line("WARNING - a job closed sys.stdout; it is open again")
    worker.wait_for_line("WARNING - a job closed sys.stderr; it is open again")
    assert final(core, send(core, 2, "Print", text="x"))["status"] == "completed"
    worker.wait_for_line("out x")
    worker.wait_for_line("err x")
    assert worker.terminate() == 0


def test_streams_that_are_captured_stay_so_when_a_job_closes_them(start: Start, core: FakeCore) -> None:
    worker = start(capture_stdout="true")
    assert final(core, send(core, 1, "CloseStreams"))["status"] == "completed"
    assert final(core, send(core, 2, "Rudeness"))["status"] == "completed"
    worker.wait_for_line("working folder to /; it is put back")
    worker.wait_for_line("handler of SIGTERM; it is put back")
    assert worker.terminate() == 0


# replacement


def test_process_ends_to_be_replaced_when_it_has_done_its_jobs(start: Start, core: FakeCore) -> None:
    worker = start(max_jobs="2")
    attempts = [send(core, number, "Do") for number in range(5)]
    assert worker.wait() == 75
    assert "2 jobs are done (max_jobs 2): this process ends, to be replaced" in worker.output
    core.hear_all()
    done = [one for one in attempts if core.statuses(one)]
    assert len(done) == 2
    start()
    for one in attempts:
        core.wait(one, "started", "completed")


def test_process_ends_to_be_replaced_when_it_uses_too_much_memory(start: Start, core: FakeCore) -> None:
    worker = start(max_rss_mib="1")
    core.wait(send(core, 1, "Do"), "started", "completed")
    assert worker.wait() == 75
    assert "(max_rss_mib 1): this process ends" in worker.output


# settings that are read again


def test_settings_count_for_the_next_job_when_they_are_read_again(
    start: Start, core: FakeCore, tmp_path: Path
) -> None:
    file = tmp_path / "life.yaml"
    file.write_text("timeout_s: 3600\nqueue: lifeworker\n")
    worker = start("-w", str(file))
    running = begun(core, 1, "Sleep", seconds=0.5)
    file.write_text("timeout_s: 0.2\nhard_timeout_s: 9\nqueue: other\n")
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_line("new values count after a restart: queue")
    worker.wait_for_line("settings read again; changed: timeout_s, hard_timeout_s")
    core.wait(running, "started", "completed")
    assert final(core, send(core, 2, "Sleep", seconds=0.5))["message"] == "ran longer than its limit of 0.2 s"
    assert worker.terminate() == 0


def test_worker_goes_to_another_broker_when_the_settings_of_the_bus_say_so(
    process: Start, tmp_path: Path
) -> None:
    file = tmp_path / "mq.json"
    with BrokerThread() as other:
        with BrokerThread() as first:
            file.write_text(json.dumps({"server": "127.0.0.1", "port": first.port}))
            worker = process(life_worker.__file__, str(file))
            worker.wait_for_line(READY)
            file.write_text(json.dumps({"server": "127.0.0.1", "port": other.port}))
            worker.send_signal(signal.SIGHUP)
            worker.wait_for_line("settings read again")
        with FakeCore(other.url()) as core:
            worker.wait_for_line(f"reconnected to .*:{other.port}")
            wait_until(lambda: f"'{KEY}'" in str(other.inspect()), message="the worker to bind its queue")
            core.wait(send(core, 1, "Do"), "started", "completed")
        assert worker.terminate() == 0


def test_old_settings_stay_when_the_file_is_broken(start: Start, core: FakeCore, tmp_path: Path) -> None:
    file = tmp_path / "life.yaml"
    file.write_text("timeout_s: 0.2\n")
    worker = start("-w", str(file))
    for text in ("timeout_s: soon\n", "{", "timeout_s: -1\n", "- a list\n"):
        file.write_text(text)
        worker.send_signal(signal.SIGHUP)
        worker.wait_for_line(rf"the settings were not read again, the old ones stay: .*{file.name}")
    file.unlink()
    worker.send_signal(signal.SIGHUP)
    worker.wait_for_line(rf"the old ones stay: .*{file.name}: cannot be read")
    assert final(core, send(core, 1, "Sleep", seconds=0.5))["message"] == "ran longer than its limit of 0.2 s"
    assert worker.terminate() == 0

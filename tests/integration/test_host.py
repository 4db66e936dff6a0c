"""``reworker host`` as a process on real brokers: supervision, drains, signals, counts, pulling, errors."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.host_support import WORKERS, Host, is_alive
from tests.integration.worker_support import FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
TEN = "".join(f"  - small:T{number}Worker\n" for number in range(10))
TYPES = [f"t{number}" for number in range(10)]


def status_of(url: str) -> int:
    try:
        return int(urllib.request.urlopen(url, timeout=30).status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def made(process: Start, folder: Path, url: str) -> Iterator[Host]:
    with FakeCore(url) as core:
        yield Host(process, folder, core)


@pytest.fixture
def host(process: Start, tmp_path: Path, broker_url: str) -> Iterator[Host]:
    """Give a host on the embedded broker."""
    yield from made(process, tmp_path, broker_url)


@pytest.fixture
def real_host(process: Start, tmp_path: Path, rabbitmq_url: str) -> Iterator[Host]:
    """Give a host on RabbitMQ."""
    yield from made(process, tmp_path, rabbitmq_url)


@pytest.mark.rabbitmq
@pytest.mark.fault
def test_ten_types_go_on_when_children_are_killed_and_leave_nobody_when_the_host_is(
    real_host: Host, rabbitmq_url: str
) -> None:
    host = real_host
    process = host.begin(rabbitmq_url, TEN, count=10)
    host.wait(*(host.send(one) for one in TYPES))
    before = host.pids()
    assert len(before) == 10
    order = list(before)
    random.shuffle(order)
    sent = []
    for name in order:
        short = name.removesuffix("worker")
        sent += [host.send(short, seconds=0.3), *(host.send(one) for one in TYPES)]
        host.kill(name)
    for name, pid in before.items():
        assert host.wait_for_replacement(name, pid) != pid
    host.wait(*sent)
    pids = set(host.pids().values())
    assert all(map(is_alive, pids))
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), 30, "nobody to be left")


@pytest.mark.fault
def test_type_that_crashes_again_and_again_disturbs_no_other(host: Host, broker_url: str) -> None:
    entries = "  - small:T0Worker\n  - small:T1Worker\n"
    process = host.begin(broker_url, entries, count=2, top="health: 0\n")
    ready = re.findall(r"health and metrics at (http:\S+)", process.output)[0] + "/readyz"
    wait_until(lambda: status_of(ready) == 200)
    steady = host.pids()["t1worker"]
    crash = host.folder / "crash-t0worker"
    crash.touch()
    host.kill("t0worker")
    process.wait_for_line(r"t0worker: ended with SIGKILL after .* s; again in \d")
    for _ in range(2):
        process.wait_for_line(r"t0worker: ended with exit code 9 after .* s; again in \d")
        host.wait(host.send("t1"))
        assert status_of(ready) == 503
    crash.unlink()
    process.wait_for_line(r"t0worker: consuming")
    wait_until(lambda: status_of(ready) == 200)
    host.wait(host.send("t0"), host.send("t1"))
    assert host.pids()["t1worker"] == steady
    assert process.terminate() == 0


def test_all_drain_side_by_side_when_told_to_stop(host: Host, broker_url: str) -> None:
    process = host.begin(broker_url, "".join(f"  - small:T{n}Worker\n" for n in range(3)), count=3)
    sent = [host.send(f"t{n}", seconds=3) for n in range(3)]
    wait_until(lambda: all(host.core.statuses(one) for one in sent))
    began = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began < 8, "one after the other they take nine seconds"
    host.wait(*sent)
    assert re.findall(r"(t\dworker): stopped", process.output)
    assert not any(map(is_alive, host.pids().values()))


def test_second_signal_stops_at_once(host: Host, broker_url: str) -> None:
    process = host.begin(broker_url, "  - small:T0Worker\n", count=1)
    sent = host.send("t0", seconds=60)
    host.core.wait_for(sent, "started")
    process.send_signal(signal.SIGTERM)
    process.wait_for_line("t0worker: draining")
    began = time.monotonic()
    assert process.terminate() == 1
    assert time.monotonic() - began < 20, "it has not waited for the step"
    assert not any(map(is_alive, host.pids().values()))


def test_settings_are_read_again_at_a_hangup_unless_they_are_wrong(host: Host, broker_url: str) -> None:
    ini = host.folder / "worker.ini"
    ini.write_text("[DEFAULT]\ndrain_s = 5\n")
    process = host.begin(broker_url, "  - small:T0Worker\n  - small:T1Worker\n", count=2)
    ini.write_text("[DEFAULT]\ndrain_s = 6\n")
    process.send_signal(signal.SIGHUP)
    for _ in range(2):
        process.wait_for_line(r"settings read again; changed: drain_s")
    ini.write_text("[DEFAULT]\ndrain_s = soon\n")
    process.send_signal(signal.SIGHUP)
    process.wait_for_line(r"reworker.host - ERROR .* worker.ini:2: drain_s: expected a number above 0")
    process.send_signal(signal.SIGUSR1)
    for _ in range(2):
        process.wait_for_line("stacks of all threads")
    ini.write_text("")
    host.wait(host.send("t0"))
    assert process.terminate() == 0


def test_nobody_ends_when_a_constructor_wants_to_exit_at_a_hangup(host: Host, broker_url: str) -> None:
    process = host.begin(broker_url, "  - small:T0Worker\n", count=1)
    quits = host.folder / "quit-t0worker"
    quits.touch()
    process.send_signal(signal.SIGHUP)
    process.wait_for_line(
        "the settings are not read again, the old ones stay: t0worker: .*SystemExit: no key"
    )
    host.wait(host.send("t0"))
    os.kill(host.pids()["t0worker"], signal.SIGHUP)
    process.wait_for_line("the settings were not read again, the old ones stay: no key")
    quits.unlink()
    host.wait(host.send("t0"))
    assert process.terminate() == 0


def test_crash_leaves_its_stacks_and_a_warning_when_a_process_of_a_host_dies(
    host: Host, broker_url: str
) -> None:
    process = host.begin(broker_url, "  - small:T0Worker\n", count=1)
    process.wait_for_line(
        "t0worker: consuming"
    )  # at rest: looking at the frames of running threads may crash
    os.kill(host.pids()["t0worker"], signal.SIGABRT)
    process.wait_for_line("Fatal Python error: Aborted")
    process.wait_for_line(r"reworker.host - WARNING - t0worker: ended with SIGABRT after .*; again in")
    process.wait_for_line("t0worker: consuming")
    assert process.terminate() == 0


def test_process_is_replaced_when_it_has_had_its_share(host: Host, broker_url: str) -> None:
    process = host.begin(broker_url, "  - {worker: small:T0Worker, max_jobs: 1}\n", count=1)
    first = host.pids()["t0worker"]
    host.wait(host.send("t0"))
    process.wait_for_line(r"t0worker: ended with exit code 75 after .* s, and is replaced")
    second = host.wait_for_replacement("t0worker", first)
    assert host.data_of(host.send("t0")) == second


def most_at_once(core: FakeCore, attempts: list[str]) -> int:
    """Return how many of these steps ran at once at most, by the order of their replies."""
    running = most = 0
    for one in core.replies:
        if one.properties.correlation_id in attempts:
            running += 1 if json.loads(one.body)["status"] == "started" else -1
            most = max(most, running)
    return most


def replace(file: Path, text: str) -> None:
    """Change a file at once: whoever watches it never sees half of it."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(text)
    fresh.replace(file)


ENTRIES = """
  - {worker: small:T0Worker, domain: eu, processes: 2}
  - {worker: small:T1Worker, polling_interval: 100, instances: 2}
  - {worker: small:T2Worker, paused: true}
  - {worker: small:T2Worker, queue: other}
"""


@pytest.mark.parametrize("kind", ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_domain_pulling_and_pausing_do_what_they_say(
    kind: str, request: pytest.FixtureRequest, process: Start, tmp_path: Path
) -> None:
    url = request.getfixturevalue("broker_url" if kind == "embedded" else "rabbitmq_url")
    with FakeCore(url) as core:
        host = Host(process, tmp_path, core)
        started = host.begin(url, ENTRIES, count=4)
        wait_until(lambda: "paused before worker.t2worker" in started.output)
        assert set(host.pids()) == {"eu.t0worker.1", "eu.t0worker.2", "t1worker", "t2worker", "other"}
        host.wait(host.send("eu.t0"), host.send("eu.t0worker"), host.send("other"))
        paused = host.send("t2")
        # two instances pull once in 100 ms each at most: ten messages take four rounds at least
        began = time.monotonic()
        host.wait(*(host.send("t1") for _ in range(10)))
        assert time.monotonic() - began >= 0.35
        slow = [host.send("t1", seconds=1.0) for _ in range(3)]
        host.wait(*slow)
        assert most_at_once(core, slow) == 2
        assert core.statuses(paused) == []
        assert started.terminate() == 0


@pytest.mark.fault
def test_pulled_step_is_answered_when_its_worker_was_killed(host: Host, broker_url: str) -> None:
    host.begin(broker_url, "  - {worker: small:T0Worker, polling_interval: 50}\n", count=1)
    sent = host.send("t0", seconds=1.0)
    host.core.wait_for(sent, "started")
    host.kill("t0worker")
    host.wait(sent)


def test_host_runs_objects_and_classes_when_made_in_python(host: Host, broker_url: str) -> None:
    script = f"""
    import logging
    from small import T0Worker, T1Worker
    from reworker.host.host import WorkerHost

    logging.basicConfig(level="INFO", format="%(message)s")
    MQ = {broker_url!r}
    tasks = [T0Worker(MQ, queue="task_1"), T0Worker(MQ, queue="task_2", instances=2, domain="eu")]
    if __name__ == "__main__":
        with WorkerHost([*tasks, T1Worker, "noop"], MQ) as host:
            host.start_processes()
    """
    (host.folder / "worker.ini").write_text("[task_1]\nprocesses = 2\n")
    (host.folder / "main.py").write_text(textwrap.dedent(script))
    host.process = host._start("main.py", folder=host.folder)
    for _ in range(5):
        host.process.wait_for_line(r"consuming worker\.")
    assert set(host.pids()) == {"task_1.1", "task_1.2", "eu.task_2", "t1worker", "noopworker"}
    assert "consuming worker.eu.task_2 with 2 instances" in host.process.output
    host.wait(*(host.send(one) for one in ("task_1", "eu.task_2", "t1", "noop")))
    assert host.process.terminate() == 0


def test_worker_command_runs_processes_and_instances_when_asked(host: Host, broker_url: str) -> None:
    options = ("--processes", "2", "--instances", "3")
    host.process = host._start(
        "-m", "reworker", "worker", "small:T0Worker", broker_url, *options, folder=host.folder
    )
    for _ in range(2):
        host.process.wait_for_line(r"consuming worker.t0worker with 3 instances")
    host.wait(host.send("t0"))
    assert set(host.pids()) == {"t0worker.1", "t0worker.2"}
    assert host.process.terminate() == 0


def test_nothing_is_started_when_anything_is_wrong(process: Start, tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(WORKERS)
    workers = "  - small:T0Worker\n  - worker: small:T1Worker\n    drain_s: soon\n"
    text = f"mq: amqp://127.0.0.1:1/\nworkers:\n{workers}"
    (tmp_path / "host.yaml").write_text(text)
    host = process("-m", "reworker", "host", "-c", "host.yaml", folder=tmp_path)
    assert host.wait() == 2
    error = "reworker: host.yaml:5: drain_s: expected a number above 0, found 'soon'"
    assert host.output.splitlines() == [error]


def test_connection_is_waited_for_by_each_process_when_no_broker_answers(
    process: Start, tmp_path: Path
) -> None:
    (tmp_path / "host.yaml").write_text(
        "mq: amqp://127.0.0.1:1/\nworkers: [{worker: noop, connect_timeout_s: 0.3}]\n"
    )
    host = process("-m", "reworker", "host", "-c", "host.yaml", folder=tmp_path)
    for _ in range(2):
        host.wait_for_line(r"reworker: noopworker: cannot connect to amqp://guest:\*\*\*@127.0.0.1:1/")
        host.wait_for_line(r"noopworker: ended with exit code 3 after .* s; again in")
    assert host.terminate() in (0, 1)
    assert os.getpid() != host.pid


def test_host_is_started_anew_when_source_changes_and_waits_when_it_is_wrong(
    host: Host, broker_url: str
) -> None:
    source = host.folder / "small.py"
    process = host.begin(broker_url, "  - small:T0Worker\n", "--reload", count=1)
    first = host.pids()["t0worker"]
    running = host.send("t0", seconds=0.8)
    host.core.wait_for(running, "started")
    replace(source, WORKERS.replace("return os.getpid()", "return 'new'"))
    process.wait_for_line(r"changed: .*small\.py; the host is started anew")
    process.wait_for_line(r"consuming worker\.")
    host.wait(running)
    assert host.data_of(host.send("t0")) == "new"
    assert not is_alive(first)
    replace(source, "this is no Python")
    process.wait_for_line(r"reworker: host.yaml:3: small:T0Worker: small cannot be imported: SyntaxError")
    process.wait_for_line(r"the host ended with exit code 2; waiting for a change")
    replace(source, WORKERS)
    process.wait_for_line(r"consuming worker\.")
    assert host.data_of(host.send("t0")) == host.pids()["t0worker"]
    (host.folder / "worker.ini").write_text("[t0]\ninstances = 3\n")
    process.wait_for_line(r"consuming worker\.t0worker with 3 instances")
    assert process.terminate() == 0
    assert not any(map(is_alive, host.pids().values()))


@pytest.mark.fault
def test_nobody_is_left_when_a_reloading_host_is_killed(host: Host, broker_url: str) -> None:
    process = host.begin(broker_url, "  - small:T0Worker\n", "--reload", count=1)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(host.pids()["t0worker"]), 30, "nobody to be left")

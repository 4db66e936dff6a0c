"""The conformance kit as a command: what it says of our own worker, and which faults of others it finds."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.broker.server import BrokerThread
from tests.conftest import fresh_vhost
from tests.support.foreign_workers import ROOT, Program, program
from tests.support.kit_runs import QUEUE, Run, options, run_kits
from tests.support.processes import Process
from tests.support.wrong_worker import FAULTS

#: seconds for anything that is not a long step; a fault that shows as silence costs three times as many.
PATIENCE_S = 4
OURS = "ours"


@pytest.fixture(scope="module")
def vhosts() -> dict[str, str]:
    """Give the name of a virtual host for each worker."""
    return {name: fresh_vhost() for name in (OURS, *FAULTS)}


@pytest.fixture(scope="module")
def runs(
    broker_session: BrokerThread, tmp_path_factory: pytest.TempPathFactory, vhosts: dict[str, str]
) -> dict[str, Run]:
    """Give the runs on our own worker and on each wrong one, which are done at the same time."""
    folder = tmp_path_factory.mktemp("kits")
    urls = {name: broker_session.url(vhost) for name, vhost in vhosts.items()}
    wrong = ["-m", "tests.support.wrong_worker"]
    programs = {
        name: (url, Program([sys.executable, *wrong, url, QUEUE, name], {"PYTHONPATH": str(ROOT)}))
        for name, url in urls.items()
    }
    programs[OURS] = (urls[OURS], program("python", urls[OURS], QUEUE, folder))

    def more(name: str, pid: int) -> tuple[str, ...]:
        end = "--stop-pid" if name == OURS else "--kill-pid"
        return ("--json", "--timeout-s", "20" if name == OURS else str(PATIENCE_S), end, str(pid))

    return run_kits(programs, folder, more)


def test_kit_finds_nothing_missing_when_the_worker_is_ours(runs: dict[str, Run]) -> None:
    run = runs[OURS]
    assert run.exit_code == 0, run.output
    assert run.names("not supported") == set(), run.output
    assert run.names("not tried") == {"killed in a step"}
    assert run.report["is_worker"]


def test_kit_finds_only_level_2_missing_when_the_worker_is_of_level_1(runs: dict[str, Run]) -> None:
    run = runs["nothing"]
    assert run.exit_code == 0, run.output
    assert run.report["missing"] == []
    missing = {one["level"] for one in run.report["findings"] if one["support"] == "not supported"}
    assert missing == {1, 2}  # of level 1 the lines of output, which nobody has to send
    assert run.finding("output lines")["support"] == "not supported"
    assert run.finding("killed in a step")["support"] == "supported"


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        ("no started", "completed", "no started"),
        ("two finals", "one started, one final", "completed, completed"),
        ("ack first", "killed in a step", "gone for good"),
        ("wrong correlation id", "correlation id", "0" * 24),
        ("wrong correlation id", "completed", "replies with the correlation_id"),
        ("never acks", "acknowledged", "messages came back"),
        ("dies of bad JSON", "not JSON", f"no worker reads {QUEUE} any more"),
    ],
)
def test_kit_finds_the_fault_when_a_worker_does_one_thing_wrong(
    runs: dict[str, Run], fault: str, check: str, words: str
) -> None:
    found = runs[fault].finding(check)
    assert found["support"] == "not supported", runs[fault].output
    assert words in found["seen"]
    assert found["advice"]


@pytest.mark.parametrize("fault", [one for one in FAULTS if one not in ("nothing", "ack first")])
def test_kit_ends_with_1_when_something_required_is_missing(runs: dict[str, Run], fault: str) -> None:
    assert runs[fault].exit_code == 1
    assert runs[fault].report["missing"]


def test_kit_takes_its_steps_away_when_their_worker_has_died(
    runs: dict[str, Run], broker_session: BrokerThread, vhosts: dict[str, str]
) -> None:
    assert runs["dies of bad JSON"].exit_code == 1
    state = broker_session.inspect()["vhosts"][vhosts["dies of bad JSON"]]
    assert state["queues"][QUEUE]["ready"] == 0


def refused(process: Callable[..., Process], url: str, *more: str) -> str:
    """Run the command, which has to say what was wrong with it; return that."""
    run = process(*options(url, *more))
    assert run.wait() == 2, run.output
    return run.output


def test_command_is_refused_when_there_is_no_such_queue(
    process: Callable[..., Process], broker_url: str
) -> None:
    said = refused(process, broker_url)
    assert f"there is no queue {QUEUE}" in said
    assert "start the worker first" in said


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--bad-parameters", "[1]", "--bad-parameters"),
        ("--bad-parameters", "{", "expected a JSON object"),
        ("--fail-parameters", "no/such/file", "No such file"),
        ("--long-s", "0", "--long-s"),
        ("--kill-pid", "0", "--kill-pid"),
    ],
)
def test_command_is_refused_when_an_option_is_wrong(
    process: Callable[..., Process], broker_url: str, option: str, value: str, words: str
) -> None:
    assert words in refused(process, broker_url, option, value)


def test_command_is_refused_when_it_is_to_kill_and_to_stop(
    process: Callable[..., Process], broker_url: str
) -> None:
    assert "each of them ends the worker" in refused(
        process, broker_url, "--kill-pid", "99999", "--stop-pid", "99998"
    )


def test_checks_that_need_a_good_step_are_not_tried_when_the_worker_refuses_it(
    process: Callable[..., Process], broker_url: str, tmp_path: Path
) -> None:
    ours = program("python", broker_url, QUEUE, tmp_path)
    process(command=ours.command, environment=dict(ours.environment)).wait_for_line("consuming")
    words = ["-m", "reworker", "conformance", "--queue", QUEUE, "--mq", broker_url, "--timeout-s", "10"]
    run = process(*words)
    assert run.wait(120) == 1, run.output
    assert "it is no worker without: completed" in run.output
    assert re.search(r"-> give --parameters of a step that ends well", run.output)
    assert re.search(r"not tried +1 +not JSON +the step that should end well did not", run.output)
    assert re.search(r"not tried +1 +failed +give --fail-parameters", run.output)


def test_command_is_refused_when_it_is_to_kill_what_is_not_there(
    process: Callable[..., Process], broker_url: str
) -> None:
    said = refused(process, broker_url, "--kill-pid", "4194305")
    assert "no signal reaches process 4194305" in said


@pytest.mark.rabbitmq
def test_kit_says_the_same_of_our_worker_on_rabbitmq(rabbitmq_url: str, tmp_path: Path) -> None:
    ours = {OURS: (rabbitmq_url, program("python", rabbitmq_url, QUEUE, tmp_path))}
    run = run_kits(ours, tmp_path, lambda _, pid: ("--kill-pid", str(pid)))[OURS]
    assert run.exit_code == 0, run.output
    assert not re.findall(r"^not supported", run.output, re.MULTILINE), run.output
    assert re.findall(r"^not tried +\d +(.+?)  ", run.output, re.MULTILINE) == ["stopped in a step"]

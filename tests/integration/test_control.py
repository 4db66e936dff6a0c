"""Control messages, and the commands that send them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reworker import __version__
from reworker.bus.contract import Delivery, Outgoing, Properties, QueueSpec, TopologySpec, Verdict
from reworker.pool.states import State
from reworker.worker import Job, Worker, step
from tests.integration import life_worker
from tests.integration.memory_pool import World
from tests.integration.worker_support import READY, FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
QUEUE = "worker.scriptedworker"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.core.close()


def tell(world: World, key: str, body: bytes = b'{"reason": ""}') -> None:
    world.publish("re.control", key, body)


class PatientWorker(Worker):
    @step("Wait")
    def wait(self, job: Job) -> None:
        job.sleep(60)


@pytest.mark.parametrize("name", ["scripted", "scriptedworker"])
def test_steps_wait_for_the_end_of_a_pause_when_a_worker_is_paused(world: World, name: str) -> None:
    with world.pool() as pool:
        tell(world, f"pause.{name}")
        wait_until(lambda: pool.state is State.QUIET)
        attempt = world.send(1)
        wait_until(lambda: world.waiting(QUEUE) == 1)
        tell(world, f"resume.{name}")
        world.wait(attempt, "started", "completed")
        wait_until(lambda: pool.state is State.CONSUMING)


def test_running_job_goes_on_when_a_worker_is_paused(world: World) -> None:
    with world.pool() as pool:
        running = world.send(1, outcome="slow", seconds=0.3)
        world.wait_for(running, "started")
        tell(world, "pause.scripted")
        wait_until(lambda: pool.state is State.QUIET)
        world.wait(running, "started", "completed")


def test_worker_takes_no_work_when_it_starts_paused(world: World) -> None:
    with world.pool(paused=True) as pool:
        assert pool.state is State.QUIET
        attempt = world.send(1)
        wait_until(lambda: world.waiting(QUEUE) == 1)
        tell(world, "resume.scripted")
        world.wait(attempt, "started", "completed")


def test_nothing_is_resumed_when_the_worker_stops(world: World) -> None:
    with world.pool() as pool:
        pass
    pool.resume()
    pool.quiet()
    assert pool.state is State.STOPPED


@pytest.mark.parametrize(
    ("key", "body"),
    [("cancel.scripted", b"{}"), ("cancel.scripted", b"[]"), ("pause.scripted", b"{}")],
)
def test_control_message_is_logged_when_it_makes_no_sense(
    world: World, key: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with world.pool() as pool:
        tell(world, key, body)
        wait_until(lambda: f"the control message {key} was ignored" in caplog.text)
        assert pool.state is State.CONSUMING


class Asker:
    """Sends pings and keeps what is answered."""

    def __init__(self, world: World) -> None:
        self.answers: list[Delivery] = []
        self._bus = world.core
        self._bus.declare(TopologySpec(queues=(QueueSpec("answers"),)))
        self._bus.consume("answers", self._keep, prefetch=0)

    def _keep(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        self.answers.append(delivery)

    def ask(self, reply_to: str | None = "answers") -> None:
        properties = Properties(correlation_id="c1", reply_to=reply_to)
        self._bus.publish(Outgoing("re.control", "ping", b"", properties))

    def answer(self) -> dict[str, Any]:
        wait_until(lambda: self.answers)
        return dict(json.loads(self.answers.pop(0).body))


def test_ping_is_answered_with_state_and_jobs_when_it_comes(world: World) -> None:
    asker = Asker(world)
    with world.pool(PatientWorker, count=2, drain_s=0.1) as pool:
        attempt = world.send(1, key="worker.patient", subcommand="Wait")
        world.wait_for(attempt, "started")
        asker.ask(reply_to=None)
        asker.ask()
        wait_until(lambda: asker.answers)
        assert asker.answers[0].properties.correlation_id == "c1"
        pong = asker.answer()
        (job,) = pong.pop("running")
        assert job.pop("seconds") >= 0
        assert job["attempt"] == attempt
        assert job["instance"] in {one.station.worker_id for one in pool.instances}
        assert pong.pop("host")
        assert pong == {
            "worker": "patientworker",
            "queue": "worker.patientworker",
            "pid": os.getpid(),
            "state": "consuming",
            "version": __version__,
        }
        pool.quiet()
        asker.ask()
        assert asker.answer()["state"] == "quiet"
    assert asker.answer()["state"] == "stopped", "who has asked is told of the end, once"
    assert not asker.answers, "a ping without reply_to is not answered"


# the command line


@pytest.fixture
def control(process: Start, broker_url: str) -> Callable[..., tuple[int, str]]:
    def run(*arguments: str) -> tuple[int, str]:
        ended = process("-m", "reworker", "control", *arguments, "--mq", broker_url)
        return ended.wait(), ended.output

    return run


def test_operator_sees_and_holds_workers_when_using_the_command_line(
    process: Start, broker_url: str, control: Callable[..., tuple[int, str]]
) -> None:
    with FakeCore(broker_url) as core:
        worker = process(life_worker.__file__, broker_url)
        worker.wait_for_line(READY)
        running = core.send(1, 2, "worker.life", subcommand="Shell", file=os.devnull)
        core.wait(running, "started")
        code, text = control("pause", "life", "--reason", "patching", "--wait", "2")
        assert code == 0
        assert f":{worker.pid}  quiet  version {__version__}" in text
        assert running in text
        worker.wait_for_line("paused: patching")
        waiting = core.send(2, 2, "worker.life", subcommand="Do")
        code, text = control("resume", "life", "-o", "json", "--wait", "2")
        assert json.loads(text)["state"] == "consuming"
        assert control("cancel", "life", running)[0] == 0
        core.wait(running, "started", "completed")
        core.wait(waiting, "started", "completed")
        code, text = control("ping", "--wait", "2")
        assert "consuming" in text
        assert worker.terminate() == 0


def test_operator_is_told_when_nobody_listens(control: Callable[..., tuple[int, str]]) -> None:
    assert control("ping", "--wait", "0.1") == (1, "no worker answers")
    for words in (("pause", "sleep"), ("cancel", "sleep", "a.1")):
        code, text = control(*words)
        assert code == 5
        assert f"routing key '{words[0]}.sleep'" in text

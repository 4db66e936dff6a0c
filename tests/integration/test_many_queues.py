"""Workers of many queues as processes on real brokers."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reworker.bus.contract import Outgoing, Properties, publish_and_wait
from reworker.messages import StepHeaders, encode, headers_of_step
from reworker.topology.code_queues import code_queue, code_topology
from tests.integration import many_worker
from tests.integration.worker_support import FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
#: milliseconds between two sweeps, for tests that wait for one, and too many to wait for.
OFTEN, NEVER = "200", "3600000"


class CodeCore(FakeCore):
    """Sends steps of codes."""

    def __enter__(self) -> CodeCore:
        super().__enter__()
        for code in ("a", "b", "c"):
            self.bus.declare(code_topology(code))
        return self

    def step(
        self, number: int, code: str = "a", subcommand: str = "Do", priority: int | None = None, **more: Any
    ) -> str:
        """Publish a step of a code; return its attempt id."""
        attempt, key = f"{number:024x}.1", code_queue(code)
        self.publish(Outgoing("re", key, *self._message(attempt, subcommand, priority, more)))
        return attempt

    def put(self, number: int, code: str) -> str:
        """Put a step straight into the queue of a code, so that no bell rings."""
        attempt = f"{number:024x}.1"
        self.publish(Outgoing("", code_queue(code), *self._message(attempt, "Do", None, {})))
        return attempt

    def _message(
        self, attempt: str, subcommand: str, priority: int | None, more: dict[str, Any]
    ) -> tuple[bytes, Properties]:
        properties = Properties(
            correlation_id=attempt,
            reply_to="re.replies",
            delivery_mode=2,
            priority=priority,
            headers=headers_of_step(StepHeaders()),
        )
        return encode({"group": "g", "parameters": {"subcommand": subcommand, **more}}), properties

    def publish(self, message: Outgoing) -> None:
        publish_and_wait(self.bus, message)

    def begun_s(self, attempt: str) -> float:
        """Wait for the end of a step; return when it began."""
        self.wait(attempt, "started", "completed")
        mine = [one for one in list(self.replies) if one.properties.correlation_id == attempt]
        return float(json.loads(mine[-1].body)["data"])


@pytest.fixture
def core(any_broker_url: str) -> Iterator[CodeCore]:
    with CodeCore(any_broker_url) as made:
        yield made


@pytest.fixture
def start(process: Start, any_broker_url: str) -> Start:
    """Give a function that starts a worker, with properties in variables, and waits until it consumes."""

    def start(*arguments: str, sweep_ms: str = NEVER, **variables: str) -> Process:
        environment = {"REWORKER_OUTPUT_LEVEL": "INFO", "REWORKER_POLLING_INTERVAL": sweep_ms, **variables}
        made = process(many_worker.__file__, any_broker_url, *arguments, environment=environment)
        made.wait_for_line(r"consuming worker\.code\.#")
        return made

    return start


def test_steps_of_all_codes_are_done_when_they_come_and_have_come(core: CodeCore, start: Start) -> None:
    early = [core.step(1, "a"), core.step(2, "b")]
    worker = start("--instances", "2", MANY_QUEUES="worker.code.a worker.code.b worker.code.never")
    late = [core.step(number, "abc"[number % 3]) for number in range(10, 22)]
    for attempt in early + late:
        core.wait(attempt, "started", "completed")
    assert worker.terminate() == 0


def test_most_urgent_step_begins_first_and_codes_take_turns_when_many_wait(
    core: CodeCore, start: Start
) -> None:
    start()
    core.wait_for(core.step(1, "a", seconds=2.0), "started")
    waiting = [core.step(10 + number, "a", priority=number % 3) for number in range(6)]
    other = core.step(20, "b")
    begun = {attempt: core.begun_s(attempt) for attempt in [*waiting, other]}
    order = sorted(waiting, key=lambda one: begun[one])
    assert [waiting.index(one) for one in order] == [2, 5, 1, 4, 0, 3]
    assert sorted([*waiting, other], key=lambda one: begun[one]).index(other) <= 1


def test_step_that_was_put_into_its_queue_is_found_by_a_sweep(core: CodeCore, start: Start) -> None:
    start(sweep_ms=OFTEN)
    core.wait(core.step(1, "a"), "started", "completed")
    core.wait(core.put(2, "a"), "started", "completed")


def test_running_step_ends_when_a_control_message_cancels_it(core: CodeCore, start: Start) -> None:
    start()
    attempt = core.step(1, "a", "Wait")
    core.wait(attempt, "started")
    core.send_control("cancel.code.a", {"attempt": attempt, "reason": "enough"})
    core.wait(attempt, "started", "cancelled")
    core.wait(core.step(2, "a"), "started", "completed")


def test_one_code_waits_when_it_alone_is_paused(core: CodeCore, start: Start) -> None:
    worker = start()
    core.send_control("pause.code.a", {"reason": "look"})
    worker.wait_for_line("worker.code.a: paused: look")
    held = core.step(1, "a")
    core.wait(core.step(2, "b"), "started", "completed")
    assert core.statuses(held) == []
    core.send_control("resume.code.a", {"reason": "seen"})
    core.wait(held, "started", "completed")


def test_all_codes_wait_when_the_worker_is_paused(core: CodeCore, start: Start) -> None:
    worker = start()
    core.send_control("pause.code", {"reason": "look"})
    worker.wait_for_line("state: quiet")
    held = core.step(1, "a")
    core.send_control("resume.many", {"reason": "seen"})
    core.wait(held, "started", "completed")


def test_step_is_answered_by_the_next_worker_when_one_dies_in_it(core: CodeCore, start: Start) -> None:
    first = start()
    attempt = core.step(1, "a", "Die")
    assert first.wait() != 0
    start(MANY_QUEUES="worker.code.a")
    wait_until(lambda: core.statuses(attempt)[-1:] == ["unknown"])
    core.wait(core.step(2, "a"), "started", "completed")


def test_step_of_a_dead_worker_is_found_by_another_that_has_heard_its_bell(
    core: CodeCore, start: Start
) -> None:
    first, attempt = start(sweep_ms=OFTEN), core.step(1, "a", "Wait")
    core.wait(attempt, "started")
    start(sweep_ms=OFTEN)
    core.wait(core.step(2, "a"), "started", "completed")
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: core.statuses(attempt) == ["started", "unknown"])


def test_step_is_answered_when_nobody_made_the_queue_of_its_code(core: CodeCore, start: Start) -> None:
    worker = start("--processes", "2")
    attempt = core.step(1, "never-made")
    core.wait_for(attempt, "failed")
    mine = [one for one in core.replies if one.properties.correlation_id == attempt]
    assert json.loads(mine[0].body)["message"] == "not done: there is no queue worker.code.never-made"
    core.wait(core.step(2, "a"), "started", "completed")
    assert worker.terminate() == 0


def test_running_step_ends_and_others_stay_when_the_worker_is_told_to_stop(
    core: CodeCore, start: Start
) -> None:
    worker = start()
    running = core.step(1, "a", seconds=2.0)
    core.wait_for(running, "started")
    waiting = core.step(2, "a")
    assert worker.terminate() == 0
    core.wait(running, "started", "completed")
    core.hear_all()
    assert core.statuses(waiting) == []
    start(MANY_QUEUES="worker.code.a")
    core.wait(waiting, "started", "completed")

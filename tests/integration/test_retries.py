"""Steps that wait for their next try at a real broker, and messages that kill their workers."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from reworker.messages import StepHeaders, encode, headers_of_step
from tests.integration.worker_support import READY, FakeCore
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]
#: for what does not depend on the broker.
EMBEDDED = pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)

FLAKY = textwrap.dedent(
    """
    import ctypes
    import os
    from pathlib import Path

    from reworker.worker import Job, Retry, Worker, runner, step

    class FlakyWorker(Worker):
        @step("Connect", retry=Retry(4, backoff_s=1, cap_s=1, retry_on=(ConnectionError,)))
        def connect(self, job: Job, *, fail_times: int = 1) -> int:
            with open("tries", "a") as file:
                file.write(f"{job.id}\\n")
            tries = Path("tries").read_text().split().count(job.id)
            if tries <= fail_times:
                raise ConnectionError(f"refused for the {tries}. time")
            return tries

        @step("ConnectLater", retry=Retry(4, backoff_s=3, cap_s=3, retry_on=(ConnectionError,)))
        def connect_later(self, job: Job) -> int:
            return self.connect(job)

        @step("Die", idempotent=True)
        def die(self, job: Job, *, how: str = "exit") -> None:
            with open("deaths", "a") as file:
                file.write("x")
            os._exit(9) if how == "exit" else ctypes.string_at(0)

    if __name__ == "__main__":
        runner(FlakyWorker)
    """
)


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


@pytest.fixture
def start(process: Start, any_broker_url: str, tmp_path: Path) -> Callable[..., Process]:
    (tmp_path / "flaky.py").write_text(FLAKY, encoding="utf-8")

    def started(*arguments: str, **options: Any) -> Process:
        made = process("flaky.py", any_broker_url, *arguments, folder=tmp_path, **options)
        made.wait_for_line(READY)
        return made

    return started


def send(core: FakeCore, number: int, subcommand: str, **parameters: Any) -> str:
    return core.send(number, 2, "worker.flaky", subcommand=subcommand, **parameters)


def last_of(core: FakeCore, attempt: str) -> Any:
    mine = [one for one in list(core.replies) if one.properties.correlation_id == attempt]
    return json.loads(mine[-1].body)


def message_count(url: str, queue: str) -> int:
    """Return how many messages wait in a queue; -1 when there is none."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
    except pika.exceptions.ChannelClosedByBroker:
        return -1
    finally:
        connection.close()


def test_waiting_step_is_tried_by_another_worker_when_its_own_was_killed(
    core: FakeCore, start: Callable[..., Process], any_broker_url: str
) -> None:
    worker = start()
    attempt = send(core, 1, "ConnectLater")
    wait_until(lambda: core.statuses(attempt) == ["started", "running"])
    wait_until(lambda: message_count(any_broker_url, "worker.flakyworker.retry.3s") == 1, poll_s=0.005)
    worker.kill9()
    wait_until(lambda: message_count(any_broker_url, "worker.flakyworker") == 1)
    assert core.statuses(attempt) == ["started", "running"]
    start()
    wait_until(lambda: core.statuses(attempt)[-1:] == ["completed"], 60)
    assert last_of(core, attempt) == {"status": "completed", "data": 2}


@EMBEDDED
def test_others_are_served_when_steps_wait_for_their_next_try(
    core: FakeCore, start: Callable[..., Process]
) -> None:
    start()
    waiting = [send(core, number, "Connect", fail_times=3) for number in range(5)]
    quick = [send(core, number, "Connect", fail_times=0) for number in range(10, 15)]
    for attempt in quick:
        core.wait(attempt, "started", "completed")
    wait_until(lambda: all(core.statuses(one)[-1:] == ["completed"] for one in waiting), 60)
    done = [one.properties.correlation_id for one in core.replies if b"completed" in one.body]
    assert set(done[: len(quick)]) == set(quick)


@EMBEDDED
def test_step_fails_with_its_last_error_when_its_time_would_be_over(
    core: FakeCore, start: Callable[..., Process]
) -> None:
    start()
    body = {"group": "g", "parameters": {"subcommand": "Connect", "fail_times": 9, "hosts": ["web1"]}}
    headers = headers_of_step(StepHeaders(deadline_s=1.9, queue_timeout_s=60))
    attempt = core.send_raw(f"{7:024x}.1", encode(body), "worker.flaky", headers=headers)
    wait_until(lambda: core.statuses(attempt)[-1:] == ["failed"], 60)
    assert "not tried again: in 1 s the time of the step is over" in last_of(core, attempt)["message"]


@pytest.mark.parametrize(
    ("any_broker_url", "how"),
    [("embedded", "segfault"), pytest.param("rabbitmq", "exit", marks=pytest.mark.rabbitmq)],
    indirect=["any_broker_url"],
)
def test_message_is_taken_out_of_its_queue_when_it_has_killed_three_workers(
    core: FakeCore, start: Callable[..., Process], any_broker_url: str, tmp_path: Path, how: str
) -> None:
    attempt = ""
    for number in range(3):
        worker = start()
        attempt = attempt or send(core, 1, "Die", how=how)
        assert worker.wait() != 0, f"death {number}"
    worker = start()
    wait_until(lambda: core.statuses(attempt)[-1:] == ["failed"])
    assert last_of(core, attempt)["message"] == "dead-lettered: it killed its worker 3 times"
    assert (tmp_path / "deaths").read_text() == "xxx"
    wait_until(lambda: core.dead)
    headers = core.dead[0].properties.headers
    assert headers["x-reworker-reason"] == "killed its worker 3 times"
    assert headers["x-reworker-queue"] == "worker.flakyworker"
    assert headers["x-reworker-by"].startswith("worker flakyworker ")
    core.wait(send(core, 2, "Connect", fail_times=0), "started", "completed")
    assert message_count(any_broker_url, "worker.flakyworker") == 0

"""A worker process with a list of senders, on real brokers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli_support import reworker
from tests.integration.worker_support import SCRIPTED, FakeCore, start_scripted
from tests.support.processes import Process
from tests.support.waiting import wait_until

Start = Callable[..., Process]


def test_worker_does_the_steps_of_those_who_name_themselves(process: Start, any_broker_url: str) -> None:
    worker = start_scripted(process, any_broker_url, REWORKER_ACCEPT_FROM="guest")
    with FakeCore(f"{any_broker_url}?stamp_user=true") as core:
        core.wait(core.send(1), "started", "completed")
    with FakeCore(any_broker_url) as nobody:
        nobody.wait(nobody.send(2), "failed")
        wait_until(lambda: nobody.dead, 60, "the dead letter")
        nobody.send_control("pause.scripted", {"reason": "by nobody"})
        wait_until(lambda: len(nobody.dead) == 2, 60, "the order among the dead letters")
        reasons = [(one.properties.headers or {})["x-reworker-reason"] for one in nobody.dead]
    assert all("not done: it names no user" in one for one in reasons)
    assert worker.terminate() == 0
    assert "paused" not in worker.output


def test_worker_ends_with_a_reason_when_the_broker_knows_it_by_another_name(
    process: Start, any_broker_url: str
) -> None:
    url = f"{any_broker_url}?stamp_user=somebody"
    worker = process(*SCRIPTED, url, environment={"REWORKER_ACCEPT_FROM": "guest"})
    assert worker.wait() == 2
    assert "stamp_user: messages name 'somebody' as their sender, and the broker answers" in worker.output
    assert "'somebody' but authenticated user was 'guest'" in worker.output
    assert "give the name by which it knows this login" in worker.output


@pytest.mark.parametrize("command", [("core",), ("control", "pause", "scripted")])
def test_command_ends_with_a_reason_when_the_broker_knows_it_by_another_name(
    broker_url: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    result = reworker(*command, "--mq", f"{broker_url}?stamp_user=somebody", folder=tmp_path)
    assert result.returncode == 2
    assert "stamp_user: messages name 'somebody' as their sender" in result.stderr

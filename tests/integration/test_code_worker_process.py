"""The code worker as a process of its own, on a real broker: logs, cancelling, kills."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reworker.bus.contract import BindingSpec, Delivery, QueueSpec, TopologySpec, Verdict
from reworker.messages import encode
from reworker.topology.code_queues import code_topology
from tests.integration.code_support import CODE, DOWNLOAD, PROJECT, package, step_body
from tests.integration.test_code_limits import living
from tests.integration.worker_support import FakeCore
from tests.support.http_server import Answer, HttpServer
from tests.support.processes import Process
from tests.support.waiting import wait_until


class Line:
    """A core, a server with packages, and code workers in processes of their own."""

    def __init__(
        self, start: Callable[..., Process], url: str, top: Path, core: FakeCore, server: HttpServer
    ) -> None:
        self._start, self._url, self.top, self.core, self.server = start, url, top, core, server
        self.output: list[Delivery] = []
        queue = QueueSpec("test.output")
        binding = BindingSpec("re", queue.name, "output")
        core.bus.declare(TopologySpec(queues=(queue,), bindings=(binding,)))
        core.bus.declare(code_topology(CODE))
        core.bus.consume(queue.name, self._keep, prefetch=0)
        settings = {"cache_dir": str(top / "cache"), "work_dir": str(top / "work"), "cancel_grace_s": 0.5}
        server.answers["/2/projects"] = Answer(
            body=encode({"projects": [{"id": PROJECT, "name": "default"}]})
        )
        codes = encode({"codes": [{"id": CODE, "name": "Hello"}]})
        server.answers[f"/2/projects/{PROJECT}/codes"] = Answer(body=codes)
        self.config = top / "code.json"
        self.config.write_text(json.dumps(settings))

    def _keep(self, delivery: Delivery) -> None:
        self.output.append(delivery)
        delivery.settle(Verdict.ACK)

    def worker(self, *arguments: str) -> Process:
        """Start a worker and wait until it takes work."""
        environment = {"REWORKER_SERVER": self.server.url, "REWORKER_TOKEN": "letmein"}
        words = "-m", "reworker", "worker", "code", self._url, "-w", str(self.config), *arguments
        started = self._start(*words, environment=environment)
        started.wait_for_line("state: consuming")
        return started

    def send(self, number: int, script: str, **changes: Any) -> str:
        """Send a task that runs a script of the shell."""
        content = package({"main.sh": script})
        self.server.answers[DOWNLOAD] = Answer(body=content)
        body = step_body(content, "main.sh", **changes)
        return self.core.send(number, key=f"worker.code.{CODE}", **body["parameters"])

    def log(self, attempt: str) -> str:
        """Return what a task has written so far."""
        mine = [one for one in list(self.output) if one.properties.correlation_id == attempt]
        return "".join(json.loads(one.body)["message"] for one in mine)

    def last(self, attempt: str) -> dict[str, Any]:
        """Return the last reply to a task."""
        mine = [one for one in list(self.core.replies) if one.properties.correlation_id == attempt]
        found: dict[str, Any] = json.loads(mine[-1].body)
        return found


@pytest.fixture
def line(process: Callable[..., Process], any_broker_url: str) -> Iterator[Line]:
    with tempfile.TemporaryDirectory() as top, HttpServer() as server, FakeCore(any_broker_url) as core:
        Path(top).chmod(0o755)  # pytest's own folders let nobody else through
        yield Line(process, any_broker_url, Path(top), core, server)


def test_tasks_run_in_slots_and_say_how_they_ended(line: Line) -> None:
    worker = line.worker("--instances", "2")
    assert "tasks are kept apart by: " in worker.output
    script = 'if [ "$HOW" = badly ]; then echo oh >&2; exit 3; fi; echo hello; echo $TASK_ID'
    good, bad = line.send(1, script), line.send(2, script, env_vars={"HOW": "badly"})
    line.core.wait(good, "started", "completed")
    line.core.wait(bad, "started", "failed")
    assert line.last(good)["data"] == {"exit_code": 0}
    assert line.last(bad) == {
        "status": "failed",
        "data": {"status": "error", "exit_code": 3},
        "message": "exit code 3",
    }
    wait_until(lambda: line.log(good).count("\n") == 2 and line.log(bad))
    assert (line.log(good), line.log(bad)) == (f"hello\n{'a' * 24}\n", "oh\n")
    worker.terminate()
    assert list((line.top / "work").glob("slot-*")) == []


def test_task_that_outlasts_the_end_of_its_worker_is_killed_not_cancelled(line: Line) -> None:
    settings = json.loads(line.config.read_text())
    line.config.write_text(json.dumps({**settings, "drain_s": 0.5}))
    worker = line.worker()
    task = line.send(1, "echo ready; sleep 4670")
    wait_until(lambda: line.log(task), 60)
    worker.terminate()
    line.core.wait(task, "started", "failed")
    assert line.last(task)["data"] == {"status": "killed", "exit_code": None}
    assert line.last(task)["message"] == "its worker was stopped while it ran"


def test_task_is_cancelled_by_a_control_message(line: Line) -> None:
    line.worker()
    task = line.send(1, "echo ready; trap '' TERM; while :; do sleep 1 4669; done")
    wait_until(lambda: line.log(task), 60)
    line.core.send_control(f"cancel.code.{CODE}", {"attempt": task, "reason": "enough"})
    line.core.wait(task, "started", "cancelled")
    assert living("sleep\x001\x004669") == []


@pytest.mark.fault
def test_worker_that_is_killed_leaves_no_process_and_its_task_an_end(line: Line) -> None:
    worker = line.worker()
    task = line.send(1, "(setsid sleep 5779 &); echo ready; sleep 5779")
    wait_until(lambda: line.log(task), 60)
    assert living("sleep\x005779")
    os.kill(worker.pid, signal.SIGKILL)
    wait_until(lambda: not living("sleep\x005779"), 30)
    wait_until(lambda: not living(str(line.top)), 30)
    (left,) = (line.top / "work").glob("slot-*")
    line.worker()
    line.core.wait(task, "started", "unknown")
    fresh = line.send(2, "echo again")
    line.core.wait(fresh, "started", "completed")
    assert not left.exists()
    assert encode(line.last(task)).count(b"lost")

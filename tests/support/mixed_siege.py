"""Workers of many kinds on one core, killed at random: over HTTP and over AMQP, in four languages."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx

from reworker.clock import SystemClock
from reworker.core.service import Service
from reworker.ids import attempt_id
from reworker.storage.contract import LogStore, Storage
from reworker.storage.rows import AttemptRow
from tests.support.conductor_site import CLIENT_PYTHON, CLIENTS
from tests.support.foreign_workers import program
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

#: task types of those that poll, and commands of those on AMQP.
POLLED, PUSHED = ("mx_swift", "mx_sync", "mx_async"), ("frobgo", "frobnode", "frobpython")
KINDS = (*POLLED, *PUSHED)
#: steps of a deployment, each of another kind.
STEP_COUNT = 3
#: seconds of a step at most; of silence after which a lease is over; between two strikes; for all to be over.
STEP_S, RESPONSE_S, PEACE_S, REST_S = 0.3, 10, (0.5, 3.0), 240.0
#: seconds for any process to be ready, on a busy day.
READY_S = 90.0
#: who is struck, by name.
PARTS = ("served", "swift", "conductor", "go", "node", "python")


class MixedSiege:
    """See the module. Whoever makes it closes it by closing its processes.

    Args:
        process: the fixture.
        node: RabbitMQ, alone for this.
        folder: for everything.
        stores: the database at `db`, for the test's side of it.
        db: its URL.
        moments: chooses.
    """

    def __init__(
        self,
        process: Callable[..., Process],
        node: RabbitMQNode,
        folder: Path,
        stores: tuple[Storage, LogStore],
        db: str,
        moments: random.Random,
    ) -> None:
        self._process, self._node, self._folder, self._moments = process, node, folder, moments
        self._db, self._url, self._port = db, node.url(node.add_vhost()), free_port()
        self.service, self.reader = Service(*stores, SystemClock()), stores[0].reader
        self.marks = folder / "marks"
        self.strikes: Counter[str] = Counter()
        self.started: list[str] = []
        #: deployments whose steps must not run twice.
        self.once: set[str] = set()
        self.parts: dict[str, Process] = {}

    def open(self) -> None:
        """Start everything, and wait until all of it works."""
        self.marks.touch()
        self._start("served").wait_for_line("workers of Conductor", READY_S)
        definitions = [{"name": one, "responseTimeoutSeconds": RESPONSE_S, "retryCount": 0} for one in POLLED]
        httpx.post(
            f"{self._server}/metadata/taskdefs", json=definitions, trust_env=False, timeout=30
        ).raise_for_status()
        for name in PARTS[1:]:
            self._start(name)
        for name in ("go", "node", "python"):
            self.parts[name].wait_for_line("consuming", READY_S)
        wait_until(lambda: set(POLLED) <= self._polled(), READY_S, "polls of all clients")

    def submit(self, count: int) -> None:
        """Start deployments, every other one of steps that may run twice."""
        for number in range(count):
            kinds = self._moments.sample(KINDS, STEP_COUNT)
            steps = [self._step(one, is_idempotent=number % 2 == 0) for one in kinds]
            execution = [{"hosts": [f"host-{number}"], "steps": steps}]
            text = json.dumps({"group": "mixed", "name": f"mixed {number}", "execution": execution})
            own_id = self.service.submit(text)
            self.started.append(own_id)
            if number % 2:
                self.once.add(own_id)

    def strike(self, count: int) -> None:
        """Kill so many processes, one after the other, and restart the broker amid that."""
        for number in range(count):
            time.sleep(self._moments.uniform(*PEACE_S))
            if number == count // 2:
                self.strikes["broker"] += 1
                self._node.restart()
            name = PARTS[number % len(PARTS)] if number < len(PARTS) else self._moments.choice(PARTS)
            self.strikes[name] += 1
            self.parts[name].kill9()
            self._start(name)

    def rest(self) -> None:
        """Wait until every deployment has ended."""
        left: list[str] = []

        def are_over() -> bool:
            left[:] = [one for one in left or self.started if not self.service.deployment(one).is_over]
            return not left

        with contextlib.suppress(TimeoutError):
            wait_until(are_over, REST_S)
        assert not left, f"{len(left)} have not ended, such as {left[0]}: {self._words(left[0])}"

    def attempts(self) -> list[AttemptRow]:
        """Return all attempts."""
        return [row for one in self.started for row in self.reader.attempts(one)]

    def replies(self) -> dict[str, Counter[str]]:
        """Return how often each kind of reply counted, by attempt."""
        found: dict[str, Counter[str]] = {}
        for own_id in self.started:
            for event in self.service.events(own_id):
                if event.kind.startswith("Reply") and event.ignored is None:
                    attempt = attempt_id(own_id, event.data["attempt"])
                    found.setdefault(attempt, Counter())[event.kind] += 1
        return found

    def begun(self) -> Counter[str]:
        """Return how often each attempt of those that poll was begun, as they have noted."""
        return Counter(self.marks.read_text().split())

    @property
    def _server(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    def _polled(self) -> set[str]:
        found = httpx.get(f"{self._server}/tasks/queue/polldata/all", trust_env=False, timeout=30).json()
        return {one["queueName"] for one in found}

    def _step(self, kind: str, *, is_idempotent: bool) -> dict[str, object]:
        seconds = round(self._moments.uniform(0, STEP_S), 3)
        values = {"seconds": seconds} if kind in POLLED else {"a": 1, "b": 2, "seconds": seconds}
        step: dict[str, object] = {f"{kind}:add": values, "idempotent": is_idempotent}
        return step if is_idempotent else {**step, "on_unknown": "fail"}

    def _start(self, name: str) -> Process:
        self.parts[name] = started = self._launch(name)
        return started

    def _launch(self, name: str) -> Process:
        if name == "served":
            words: Sequence[str] = ("--mq", self._url, "--db", self._db, "--port", str(self._port))
            options = (*words, "--no-auth", "--conductor")
            lease = {"REWORKER_CORE_LEASE_S": "1"}
            return self._process("-m", "reworker", "serve", *options, environment=lease)
        if name in ("swift", "conductor"):
            places = {"SWIFT_SERVER_URL": self._server, "CONDUCTOR_SERVER_URL": self._server}
            environment = {**places, "MARKS": str(self.marks)}
            script = str(CLIENTS / f"mixed_{name}.py")
            return self._process(script, command=(str(CLIENT_PYTHON),), environment=environment)
        worker = {"go": "go2", "node": "node2"}.get(name, name)
        found = program(worker, self._url, f"worker.frob{name}", self._folder)
        return self._process(command=found.command, environment={**os.environ, **found.environment})

    def _words(self, own_id: str) -> str:
        rows = [(row.id, row.step, row.status, row.message) for row in self.reader.attempts(own_id)]
        return f"{rows}"

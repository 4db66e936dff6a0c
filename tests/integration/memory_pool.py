"""A pool and a core on one broker in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from reworker.bus.contract import Delivery, Outgoing, Properties, QueueSpec, TopologySpec, Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.messages import StepHeaders, encode, headers_of_step
from reworker.pool.pool import WorkerPool
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Worker
from tests.support.waiting import wait_until

LEVEL_2 = StepHeaders()


class World:
    """A broker in memory, and a bus that plays the core."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.core = MemoryBus(self.broker, name="core")
        self.core.open(timeout_s=1)
        self.core.declare(TopologySpec(queues=(QueueSpec("re.replies"),)))
        self.replies: list[Delivery] = []
        self.core.consume("re.replies", self._on_reply, prefetch=0)

    def _on_reply(self, delivery: Delivery) -> None:
        self.replies.append(delivery)
        delivery.settle(Verdict.ACK)

    @contextmanager
    def pool(
        self, kind: type[Worker] = ScriptedWorker, count: int = 1, **properties: Any
    ) -> Iterator[WorkerPool]:
        """Run a pool of `count` instances."""
        workers = [kind({"server": "memory"}, **properties) for _ in range(count)]
        pool = WorkerPool(MemoryBus(self.broker, name="worker"), workers)
        pool.start()
        try:
            yield pool
        finally:
            pool.stop()

    def send(
        self,
        number: int,
        headers: StepHeaders | None = LEVEL_2,
        key: str = "worker.scripted",
        **parameters: Any,
    ) -> str:
        """Publish a step and return its attempt id."""
        attempt = f"{number:024x}.1"
        message = {"group": "g", "parameters": {"subcommand": "Play", "hosts": ["web1"], **parameters}}
        table = headers_of_step(headers) if headers is not None else None
        properties = Properties(correlation_id=attempt, reply_to="re.replies", headers=table)
        self.core.publish(Outgoing("re", key, encode(message), properties))
        return attempt

    def publish(self, exchange: str, key: str, body: bytes) -> None:
        """Publish anything."""
        self.core.publish(Outgoing(exchange, key, body, Properties()))

    def statuses(self, attempt: str) -> list[str]:
        """Return the statuses that have arrived for an attempt."""
        mine = [one for one in list(self.replies) if one.properties.correlation_id == attempt]
        return [json.loads(one.body)["status"] for one in mine]

    def wait(self, attempt: str, *statuses: str) -> None:
        """Wait until an attempt has answered so."""

        def found() -> bool:
            self.seen = self.statuses(attempt)
            return self.seen == list(statuses)

        try:
            wait_until(found)
        except TimeoutError:
            raise AssertionError(f"{attempt}: expected {statuses}, saw {self.seen}") from None

    def wait_for(self, attempt: str, status: str) -> None:
        """Wait until an attempt has answered so, among others."""
        wait_until(lambda: status in self.statuses(attempt), message=f"{status} of {attempt}")

    def waiting(self, queue: str) -> int:
        """Return how many messages wait in a queue."""
        return self.broker.message_count(queue)

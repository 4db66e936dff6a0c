"""A stand-in for the worker of codes on a real bus: takes tasks, holds them for a while, answers as told."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outgoing, Properties, Verdict
from reworker.config import mq_settings
from reworker.core.service import Service
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.errors import BusError
from reworker.storage.task_rows import CodeRow, TaskFilter, TaskRow
from reworker.topology import names
from reworker.topology.code_queues import code_queue, code_topology

#: tasks that the stand-in has at once: more than any code here allows.
SLOT_COUNT = 20


class CodeHands:
    """Remembers what it was given, and how many tasks of a code it had at once at most.

    Args:
        url: of the broker.
        work_s: seconds that each task takes; None is until `release`.
    """

    def __init__(self, url: str, *, work_s: float | None = 0.0) -> None:
        self.work_s = work_s
        self.order: list[str] = []
        self.runs: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.ends: dict[str, dict[str, Any]] = {}
        self._now: Counter[str] = Counter()
        self._released: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pool = ThreadPoolExecutor(SLOT_COUNT)
        self.bus = PikaBus(mq_settings(url), name="hands")
        self.bus.open(timeout_s=30)

    def take(self, code: CodeRow) -> None:
        """Take the tasks of a code from now on."""
        self.bus.declare(code_topology(code.id))
        self.bus.consume(code_queue(code.id), self._on_delivery, prefetch=SLOT_COUNT)

    def _on_delivery(self, delivery: Delivery) -> None:
        with self._lock:  # in the order in which they were delivered
            parameters = json.loads(delivery.body)["parameters"]
            self.order.append(parameters["task_id"])
            self.runs[parameters["task_id"]] += 1
            self._now[parameters["code_name"]] += 1
            now = self._now[parameters["code_name"]]
            self.most[parameters["code_name"]] = max(now, self.most[parameters["code_name"]])
        self._pool.submit(self._perform, delivery, parameters)

    def _perform(self, delivery: Delivery, parameters: dict[str, Any]) -> None:
        task_id = parameters["task_id"]
        with suppress(BusError):
            self._say(delivery, {"status": "started"})
            self._event(task_id).wait(self.work_s)
            with self._lock:
                self._now[parameters["code_name"]] -= 1
            end = self.ends.get(parameters["payload"], {"status": "completed", "data": {"exit_code": 0}})
            self._say(delivery, self.ends.get(task_id, end))
            delivery.settle(Verdict.ACK)

    def _say(self, delivery: Delivery, body: dict[str, Any]) -> None:
        properties = Properties(
            correlation_id=delivery.properties.correlation_id,
            message_id=f"hands-{id(self)}-{next(self._numbers)}",
            delivery_mode=2,
        )
        reply_to = delivery.properties.reply_to or names.REPLY_QUEUE
        self.bus.publish(Outgoing("", reply_to, json.dumps(body).encode(), properties))

    def release(self, task_id: str, end: dict[str, Any] | None = None) -> None:
        """Let a task end, in this way."""
        if end is not None:
            self.ends[task_id] = end
        self._event(task_id).set()

    def _event(self, task_id: str) -> threading.Event:
        with self._lock:
            return self._released.setdefault(task_id, threading.Event())

    def close(self) -> None:
        for task_id in list(self.runs):
            self.release(task_id)
        self._pool.shutdown(wait=True)
        self.bus.close()


def upload(service: Service, name: str, **options: Any) -> CodeRow:
    """Store a code."""
    draft = CodeDraft(name, "sh", "run.sh", CodeOptions(**options))
    return service.codes.upload(service.projects.find("default"), draft, [b"PK"])


def queue(service: Service, name: str, count: int = 1, **fields: Any) -> list[str]:
    """Queue tasks; return their ids."""
    drafts = [TaskDraft(name, **fields) for _ in range(count)]
    return [row.id for row in service.tasks.queue(service.projects.find("default"), drafts)]


def rows(service: Service, **wanted: Any) -> list[TaskRow]:
    """Return stored tasks, oldest first."""
    return service.tasks.tasks(TaskFilter(**wanted), limit=10_000)[::-1]


def statuses(service: Service) -> Counter[str]:
    """Return how many tasks stand in the table as what."""
    return Counter(service.tasks.counts(TaskFilter()))

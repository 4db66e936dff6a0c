"""A worker that answers at once, over a real bus, and a core in a process of its own."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from reworker.bus.connection import PikaBus
from reworker.bus.contract import Delivery, Outgoing, Properties, Verdict
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.service import Service
from reworker.storage.log import SqlLog, log_path
from reworker.storage.opening import open_logs, open_storage
from reworker.storage.sql import SqlStorage
from reworker.topology import names
from reworker.topology.model import worker_topology
from tests.support.processes import Process

#: seconds of the core's lease: a doubt after a kill is found this fast.
LEASE_S = 1.0


class EchoWorker:
    """Completes every step of `noop` at once; counts how often it was given each attempt."""

    def __init__(self, url: str) -> None:
        self.runs: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.bus = PikaBus(mq_settings(url), name="echo")
        self.bus.open(timeout_s=30)
        queue = names.worker_queue("noop")
        self.bus.declare(worker_topology(queue, [names.step_key("noop")]))
        self.bus.consume(queue, self._on_delivery, prefetch=50)

    def _on_delivery(self, delivery: Delivery) -> None:
        correlation_id = delivery.properties.correlation_id or ""
        with self._lock:
            self.runs[correlation_id] += 1
        for status in ("started", "completed"):
            message_id = f"echo-{id(self)}-{next(self._numbers)}"
            properties = Properties(correlation_id=correlation_id, message_id=message_id, delivery_mode=2)
            body = json.dumps({"status": status}).encode()
            self.bus.publish(Outgoing("", delivery.properties.reply_to or "", body, properties))
        delivery.settle(Verdict.ACK)

    def close(self) -> None:
        self.bus.close()


class CoreProcess:
    """A core that can be killed and started again; `service` is the test's side of its database."""

    def __init__(self, start: Callable[..., Process], url: str, folder: Path) -> None:
        self.path = folder / "core.db"
        self._start, self._url = start, url
        self._storage, self._logs = SqlStorage(self.path), SqlLog(log_path(self.path))
        self.reader = self._storage.reader
        self.service = Service(self._storage, self._logs, SystemClock())
        self._process: Process | None = None

    def start(self) -> None:
        self._process = self._start(
            *("-m", "reworker", "core", "--mq", self._url, "--db", str(self.path)),
            environment={"REWORKER_CORE_LEASE_S": str(LEASE_S)},
        )

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    def close(self) -> None:
        self._storage.close()
        self._logs.close()


class Cores:
    """Several cores of different names on one database, each a process that can be stopped in any way."""

    def __init__(self, start: Callable[..., Process], mq: str, db: str) -> None:
        self._start, self._mq, self._db = start, mq, db
        self._storage, self._logs = open_storage(db), open_logs(db)
        self.reader = self._storage.reader
        self.service = Service(self._storage, self._logs, SystemClock())

    def start(self, name: str, *options: str, lease_s: float = LEASE_S) -> Process:
        """Start a core and wait until it runs."""
        made = self.launch(name, *options, lease_s=lease_s)
        made.wait_for_line(f"core {name} runs on")
        return made

    def launch(self, name: str, *options: str, lease_s: float = LEASE_S, **environment: str) -> Process:
        """Start a core."""
        own = {"REWORKER_CORE_LEASE_S": str(lease_s), "REWORKER_CORE_NAME": name}
        return self._start(
            *("-m", "reworker", "core", "--mq", self._mq, "--db", self._db, *options),
            environment=own | environment,
        )

    def run(self, *command: str, has_mq: bool = True) -> Process:
        """Start another command on the same database and broker."""
        return self._start(
            "-m", "reworker", *command, "--db", self._db, *(("--mq", self._mq) if has_mq else ())
        )

    def statuses(self, ids: Iterable[str]) -> Counter[str]:
        """Return how many of the deployments are in which status."""
        return Counter(str(self.service.deployment(one).state.status) for one in ids)

    def close(self) -> None:
        self._storage.close()
        self._logs.close()

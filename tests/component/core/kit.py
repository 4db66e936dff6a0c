"""A world without threads, sockets and real time: a core, a broker in memory and a scripted worker."""

from __future__ import annotations

import copy
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from reworker.bus.contract import (
    BindingSpec,
    Delivery,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.core.core import Core
from reworker.core.service import DeploymentView
from reworker.core.settings import CoreSettings
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage, packages_path
from reworker.storage.writing import SqlUnit
from reworker.topology import names
from reworker.topology.model import worker_topology


class FakeClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.elapsed_s = self.jumped_s = 0.0

    def now(self) -> datetime:
        start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        return start + timedelta(seconds=self.elapsed_s + self.jumped_s)

    def mono_s(self) -> float:
        return 1000.0 + self.elapsed_s

    def advance(self, seconds: float) -> None:
        self.elapsed_s += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock only, as an administrator or NTP does."""
        self.jumped_s += seconds


class Killed(BaseException):
    """The core's process is gone at this very point."""


class Fuse:
    """Kills the core at the n-th point that it passes; 0 is never. `passed` names the points."""

    def __init__(self, burns_at: int = 0) -> None:
        self.burns_at = burns_at
        self.passed: list[str] = []

    def point(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.burns_at:
            raise Killed(name)


class FusedStorage(SqlStorage):
    """The real database; the fuse sits before and after each COMMIT, and faults may be put in its way."""

    fuse: Fuse = Fuse()
    fault: Callable[[], None] | None = None

    @contextmanager
    def begin(self) -> Iterator[SqlUnit]:
        with super().begin() as unit:
            if self.fault is not None:
                self.fault()
            yield unit
            self.fuse.point("before commit")
        self.fuse.point("after commit")


class FusedBus(MemoryBus):
    """The memory bus; the fuse sits before and after each publish."""

    fuse: Fuse = Fuse()

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = 30.0,
    ) -> None:
        self.fuse.point("before publish")
        super().publish(message, on_done, deadline_s=deadline_s)
        self.fuse.point("after publish")


class Worker:
    """Takes the steps of one command and answers as its script says; remembers what it was given."""

    def __init__(self, broker: MemoryBroker, command: str = "noop") -> None:
        self.bus = MemoryBus(broker, is_threaded=False, name="worker")
        self.bus.open(timeout_s=1)
        queue = names.worker_queue(command)
        self._declare(queue, names.step_key(command))
        self.bus.consume(queue, self._on_delivery, prefetch=10)
        self.steps: list[Delivery] = []
        self.script: tuple[dict[str, Any], ...] = ({"status": "started"}, {"status": "completed"})
        self._numbers = itertools.count(1)

    def _declare(self, queue: str, key: str) -> None:
        self.bus.declare(worker_topology(queue, [key]))

    @property
    def hosts(self) -> list[str]:
        return [json.loads(step.body)["parameters"]["hosts"][0] for step in self.steps]

    def _on_delivery(self, delivery: Delivery) -> None:
        self.steps.append(delivery)
        for reply in self.script:
            self.reply(reply, delivery.properties.correlation_id)
        delivery.settle(Verdict.ACK)

    def reply(self, body: Any, correlation_id: str | None, **properties: Any) -> None:
        """Send a reply; `body` is encoded unless it is bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        properties.setdefault("message_id", f"reply-{next(self._numbers)}")
        properties.setdefault("app_id", "noopworker")
        self.send("", names.REPLY_QUEUE, raw, correlation_id=correlation_id, **properties)

    def send(self, exchange: str, key: str, body: bytes, **properties: Any) -> None:
        self.bus.publish(Outgoing(exchange, key, body, Properties(**properties)))


@cache
def fresh_database() -> tuple[bytes, bytes]:
    """Return a database and its log as files, made once: making the tables takes half of a short test."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "core.db"
        SqlStorage(path).close()
        SqlLog(log_path(path)).close()
        return path.read_bytes(), log_path(path).read_bytes()


@cache
def fresh_packages() -> bytes:
    """Return the file of packages of such a database."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "core.db"
        SqlStorage(path).close()
        return packages_path(path).read_bytes()


@dataclass(frozen=True)
class Lent:
    """An open database with its log, that a world has from somebody who wants it back."""

    path: Path
    storage: FusedStorage
    logs: SqlLog

    def close(self) -> None:
        self.storage.close()
        self.logs.close()


class World:
    """Everything there is; `run` lets it go on until nothing moves any more.

    Args:
        home: a folder for new files, or an open database for the first core.
    """

    def __init__(self, home: Path | Lent) -> None:
        self.clock = FakeClock()
        self._unused, self.lent = None, None
        if isinstance(home, Lent):
            self._unused, self.path = home, home.path
        else:
            self.path = home / "core.db"
            for path, data in zip((self.path, log_path(self.path)), fresh_database(), strict=True):
                path.write_bytes(data)
            packages_path(self.path).write_bytes(fresh_packages())
        self.broker = MemoryBroker()
        self.storage: FusedStorage
        self.core: Core
        self._bus: FusedBus
        self._logs: SqlLog
        self.settings = CoreSettings()
        self.make_logs: type[SqlLog] = SqlLog
        self.make_storage: type[FusedStorage] = FusedStorage
        self.takes_jobs = True
        self.is_running = False

    def start(self, fuse: Fuse | None = None) -> Core:
        """Start a core on the database, killed where the fuse burns."""
        self.lent, self._unused = self._unused, None
        found = self.lent or Lent(
            self.path, self.make_storage(self.path), self.make_logs(log_path(self.path))
        )
        self.storage, self._logs = found.storage, found.logs
        self._bus = FusedBus(self.broker, is_threaded=False, name="core", clock=self.clock)
        self._bus.open(timeout_s=1)
        self.core = Core(self._bus, self.storage, self._logs, self.settings, clock=self.clock)
        self.core.attach(takes_jobs=self.takes_jobs)
        self.storage.fuse = self._bus.fuse = fuse or Fuse()
        self.is_running = True
        return self.core

    def kill(self) -> None:
        """Let the core vanish: its connections drop, nothing is finished."""
        self.storage.fuse = self._bus.fuse = Fuse()
        if self.is_running:
            self._leave()
            self.storage.close()
            self._logs.close()

    def give_back(self) -> Lent | None:
        """Let the core vanish; return what was lent if this core was the only one on it, else None."""
        if not self.is_running or self.lent is None:
            self.kill()
            return None
        self.storage.fuse, self.storage.fault = Fuse(), None
        self._leave()
        return self.lent

    def _leave(self) -> None:
        self.is_running = False
        self._bus.close()

    def run(self) -> None:
        """Deliver and work until nothing moves; a core whose fuse burns is killed."""
        try:
            while self._turn():
                pass
        except Killed:
            self.kill()
            self.broker.pump()

    def _turn(self) -> bool:
        moved = self.broker.pump() > 0
        if not self.is_running:
            return moved
        core = self.core
        return any([core.loop.turn(), core.jobs.turn(), core.recorder.turn(), moved])

    def advance(self, seconds: float) -> None:
        """Let time pass, then run."""
        self.clock.advance(seconds)
        self.run()

    def deployment(self, own_id: str) -> DeploymentView:
        return self.core.service.deployment(own_id)

    def status(self, own_id: str) -> str:
        return str(self.deployment(own_id).state.status)

    def kinds(self, own_id: str) -> list[str]:
        """Return the kinds of the events that changed something."""
        return [event.kind for event in self.core.service.events(own_id) if not event.ignored]

    def limit_pages(self, *, to_present: bool) -> None:
        """Have SQLite refuse to let the file grow, as a full disk does."""
        with self.storage.begin() as unit:
            pages = unit._connection.exec_driver_sql("PRAGMA page_count").scalar() if to_present else 10**9
            unit._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def queue(self, name: str, binding: tuple[str, str] | None = None) -> Queue:
        return Queue(self.broker, name, binding)

    def beside(self, name: str) -> World:
        """Return a world with the same clock, database and broker, for another core."""
        other = copy.copy(self)
        other.settings = msgspec.structs.replace(self.settings, name=name)
        other.is_running, other.lent = False, None
        self.lent = None
        return other


def run_all(*worlds: World, advance_s: float = 0.0) -> None:
    """Let several cores go on until nothing moves; time passes in steps, so that each looks at the others."""
    left_s = advance_s
    while True:
        for world in worlds:
            world.run()
        if left_s <= 0:
            return
        worlds[0].clock.advance(min(left_s, 0.1))
        left_s -= 0.1


@contextmanager
def running(world: World) -> Iterator[World]:
    """Start a core in a world; it is killed at the end."""
    world.start()
    try:
        yield world
    finally:
        world.kill()


class Queue:
    """A queue that a test reads; made, and bound to (exchange, key), when it is not there."""

    def __init__(self, broker: MemoryBroker, name: str, binding: tuple[str, str] | None = None) -> None:
        self._broker = broker
        self._bus = MemoryBus(broker, is_threaded=False, name="test")
        self._bus.open(timeout_s=1)
        bindings = (BindingSpec(binding[0], name, binding[1]),) if binding else ()
        if binding is not None or name != names.DEAD_QUEUE:
            self._bus.declare(TopologySpec(queues=(QueueSpec(name),), bindings=bindings))
        self.found: list[Delivery] = []
        self._bus.consume(name, self._take, prefetch=0)

    def _take(self, delivery: Delivery) -> None:
        self.found.append(delivery)
        delivery.settle(Verdict.ACK)

    def messages(self) -> list[Delivery]:
        self._broker.pump()
        return self.found

    def bodies(self) -> list[Any]:
        return [json.loads(one.body) for one in self.messages()]


def playbook(*steps: Any, hosts: tuple[str, ...] = ("web1",), locks: bool = True, **extra: Any) -> str:
    """Return the text of a playbook of one sequence; without `locks`, many run on a host at once."""
    sequence = {
        "description": "a sequence",
        "hosts": list(hosts),
        "steps": list(steps) or ["noop:Do"],
        **extra,
    }
    whole = {"group": "web", "name": "a playbook", "execution": [sequence]}
    return json.dumps(whole if locks else {**whole, "locks": False})

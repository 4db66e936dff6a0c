"""What core and workers really send is what the published schemas say: each message of both levels."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reworker.bus.connection import PikaBus
from reworker.bus.contract import BindingSpec, Outgoing, Properties, Published, QueueSpec, TopologySpec
from reworker.clock import SystemClock
from reworker.config import mq_mapping, mq_settings
from reworker.core.core import Core
from reworker.core.roll_call import RollCall, order_workers
from reworker.core.settings import CoreSettings
from reworker.errors import JobRetry, JobUnknown
from reworker.messages import STATUSES
from reworker.pool.pool import WorkerPool
from reworker.published.document import document
from reworker.published.schemas import standalone
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from reworker.topology import names
from reworker.worker import Job, Worker, step
from tests.component.core.kit import playbook
from tests.support.waiting import wait_until

NOTIFY = {"started": {"irc": ["#ops"]}, "completed": {"irc": ["#ops"]}, "failed": {"irc": ["#ops"]}}
CONTROL = {"cancel": "cancel", "pause": "order", "resume": "order"}
ANSWERS = "test.answers"
#: headers that workers add to steps which they put back, for themselves; see docs/messages.md.
OWN = ("x-tries", "x-retry-error", "x-routing-key", "x-returns")


class Tape:
    """Everything that some buses have published."""

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self._lock = threading.Lock()

    def bus(self, url: str, name: str) -> PikaBus:
        tape = self

        class Taped(PikaBus):
            def publish(
                self,
                message: Outgoing,
                on_done: Callable[[Published], None] | None = None,
                *,
                deadline_s: float = 30.0,
            ) -> None:
                with tape._lock:
                    tape.messages.append(message)
                super().publish(message, on_done, deadline_s=deadline_s)

        return Taped(mq_settings(url), name=name)

    def named(self) -> list[tuple[str, Outgoing]]:
        """Return each message with the name of its schema; dead letters are what others have sent."""
        with self._lock:
            return [(name_of(one), one) for one in self.messages if one.exchange != names.DEAD_EXCHANGE]


def name_of(message: Outgoing) -> str:
    """Return which message of the contract it is, by where it is published."""
    first = message.routing_key.partition(".")[0]
    if message.exchange == names.CONTROL_EXCHANGE:
        return CONTROL.get(first, first)
    if message.exchange == names.EXCHANGE:
        known = {"worker": "step", "notify": "notification", "job": "job", "output": "output"}
        return known[first]
    if first == "worker":  # a step that its worker puts back
        return "step"
    if "status" in (body := json.loads(message.body)):
        return "reply" if (message.properties.headers or {}).get("x-reworker") == 2 else "reply-level-1"
    return "pong" if "pid" in body else "job-answer"


class MegafrobberWorker(Worker):
    """Does what may become of a step."""

    @step("Frob")
    def frob(self, job: Job) -> dict[str, int]:
        job.output.info("frobbing")
        job.report(50, "half done")
        job.notify("frobbed", "all of it", "completed", ["#ops"])
        return {"frobbed": 1}

    @step("Fail")
    def fail(self, job: Job) -> None:
        raise ValueError("no frob")

    @step("Doubt")
    def doubt(self, job: Job) -> None:
        raise JobUnknown("it may have been frobbed")

    @step("Again", idempotent=True)
    def again(self, job: Job) -> str:
        if not getattr(self, "has_tried", False):
            self.has_tried = True
            raise JobRetry(1, "not yet")
        return "done"

    @step("Wait")
    def wait(self, job: Job) -> None:
        job.sleep(60)


class Site:
    """A core, a worker and a program that asks, whose messages are all on tape."""

    def __init__(self, url: str, folder: Path) -> None:
        self.tape = Tape()
        self.storage, self._logs = SqlStorage(folder / "core.db"), SqlLog(log_path(folder / "core.db"))
        self._buses = [self.tape.bus(url, name) for name in ("core", "output", "program")]
        for bus in self._buses:
            bus.open(timeout_s=30)
        core_bus, output_bus, self.program = self._buses
        irc = names.worker_queue("ircnotify")
        self.core = Core(core_bus, self.storage, self._logs, CoreSettings(), output_bus=output_bus)
        self.core.start()
        bindings = (BindingSpec(names.EXCHANGE, irc, names.notify_key("irc")),)
        self.program.declare(TopologySpec(queues=(QueueSpec(ANSWERS), QueueSpec(irc)), bindings=bindings))
        worker = MegafrobberWorker(mq_mapping(url, {}))
        self.pool = WorkerPool(self.tape.bus(url, "worker"), [worker])
        self.pool.start()

    def close(self) -> None:
        self.pool.stop()
        self.core.stop()
        for bus in self._buses:
            bus.close()
        self.storage.close()
        self._logs.close()

    def start(self, key: str, **more: Any) -> str:
        text = playbook({key: {"notify": NOTIFY}, **more}, locks=False, notify=NOTIFY)
        return self.core.service.submit(text, unattended=True)

    def end(self, own_id: str) -> str:
        wait_until(lambda: self.core.service.deployment(own_id).is_over, 60.0)
        return str(self.core.service.deployment(own_id).state.status)

    def ask(self, key: str, body: bytes, **properties: Any) -> None:
        self.program.publish(Outgoing(names.EXCHANGE, key, body, Properties(reply_to=ANSWERS, **properties)))

    def run_all(self) -> None:
        """Have every kind of message sent."""
        waiting = self.start("megafrobber:Wait")
        wait_until(lambda: "started" in _statuses(self, waiting), 60.0)
        self.core.service.cancel(waiting)
        assert self.end(waiting) == "cancelled"
        ends = {key: self.end(self.start(f"megafrobber:{key}")) for key in ("Frob", "Fail", "Doubt", "Again")}
        assert ends == {"Frob": "completed", "Fail": "failed", "Doubt": "failed", "Again": "completed"}
        for subcommand in ("Frob", "Fail"):
            parameters = {"command": "megafrobber", "subcommand": subcommand, "hosts": ["a"]}
            body = json.dumps({"group": "old", "parameters": parameters}).encode()
            self.ask("worker.megafrobber", body, correlation_id=f"old-{subcommand}")
        stored = self.core.service.library.store(playbook("megafrobber:Frob"))
        for playbook_id in (stored.id, "0" * 24):
            request = {"group": "web", "playbook_id": playbook_id}
            self.ask("job.create", json.dumps(request).encode(), message_id=playbook_id)
        for verb in ("pause", "resume"):
            order_workers(self.program, verb, "megafrobber", "by a test")
        call = RollCall(self.program, SystemClock())
        call.begin()
        call.ask()
        wait_until(lambda: {"pong", "job-answer"} <= {name for name, _ in self.tape.named()}, 60.0)
        wait_until(lambda: _level_1(self) >= {"started", "completed", "failed"}, 60.0)


def _level_1(site: Site) -> set[str]:
    bodies = [json.loads(one.body) for name, one in site.tape.named() if name == "reply-level-1"]
    return {body["status"] for body in bodies}


def _statuses(site: Site, own_id: str) -> set[str]:
    return {one.row.status for one in site.core.service.attempts(own_id)}


@pytest.fixture
def site(any_broker_url: str, tmp_path: Path) -> Iterator[Site]:
    found = Site(any_broker_url, tmp_path)
    try:
        yield found
    finally:
        found.close()


def test_everything_that_is_sent_is_as_the_schemas_say(site: Site) -> None:
    site.run_all()
    site.pool.stop()
    found = site.tape.named()
    assert {name for name, _ in found} == document()["components"]["messages"].keys()
    statuses = {json.loads(one.body)["status"] for name, one in found if name == "reply"}
    assert statuses == set(STATUSES)
    for name, message in found:
        headers = dict(message.properties.headers or {})
        if name in ("step", "reply") and "x-reworker" in headers:
            require(f"{name}-headers", {key: one for key, one in headers.items() if key not in OWN})
        if name != "ping":
            require(name, json.loads(message.body))


def require(name: str, value: Any) -> None:
    """Hold a value against its schema, which is to name every key that is there."""
    schema = standalone(name)
    jsonschema.Draft7Validator(schema).validate(value)
    assert value.keys() <= schema["properties"].keys(), name

"""The world of 2014 around our core: its settings file, plain clients of AMQP, workers as they were."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pika

from reworker.clock import SystemClock
from reworker.core.service import Service
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: seconds for anything on this machine, on a busy day.
PATIENCE_S = 60.0

Script = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]


def plain(_: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Do a step as most workers of 2014 did."""
    return ({"status": "started"}, {"status": "completed"})


class Peer:
    """A connection of its own, served by one thread, to whose queue messages come."""

    def __init__(self, url: str, bindings: Iterable[str], *, queue: str = "", exclusive: bool = True) -> None:
        self.connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self.connection.channel()
        self.channel.exchange_declare("re", "topic", durable=True)
        declared = self.channel.queue_declare(queue, exclusive=exclusive, durable=not exclusive)
        self.queue = str(declared.method.queue)
        for key in bindings:
            self.channel.queue_bind(self.queue, "re", key)
        self.channel.basic_consume(self.queue, self._on_message)
        self.bodies: list[Any] = []
        self.properties: list[pika.BasicProperties] = []
        self.keys: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        self.channel.start_consuming()
        self.connection.close()

    def _on_message(self, channel: Any, deliver: Any, properties: pika.BasicProperties, body: bytes) -> None:
        channel.basic_ack(deliver.delivery_tag)
        self.properties.append(properties)
        self.keys.append(deliver.routing_key)
        self.bodies.append(json.loads(body))
        self.answer(properties, self.bodies[-1])

    def answer(self, properties: pika.BasicProperties, body: Any) -> None:
        """Do what a message asks for; nothing, for one that only listens."""

    def send(self, exchange: str, key: str, body: Any, **properties: Any) -> None:
        """Publish from any thread; transient and without a message id, as in 2014."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        message = pika.BasicProperties(**properties)
        self.connection.add_callback_threadsafe(
            lambda: self.channel.basic_publish(exchange, key, raw, properties=message)
        )

    def close(self) -> None:
        if self._thread.is_alive():
            self.connection.add_callback_threadsafe(self.channel.stop_consuming)
            self._thread.join(PATIENCE_S)


class OldWorker(Peer):
    """Acknowledges first, then replies `started` and its end, over the default exchange."""

    def __init__(self, url: str, command: str, seen: list[dict[str, Any]], script: Script = plain) -> None:
        super().__init__(url, [f"worker.{command}"], queue=f"worker.{command}", exclusive=False)
        self._command, self._seen, self.script = command, seen, script

    def answer(self, properties: pika.BasicProperties, body: Any) -> None:
        self._seen.append(body)
        for reply in self.script(body):
            own = {"app_id": f"{self._command}worker", "reply_to": "log"}
            message = pika.BasicProperties(correlation_id=str(properties.correlation_id), **own)
            self.channel.basic_publish("", properties.reply_to, json.dumps(reply).encode(), message)


class OldSite:
    """A core that was started with a settings file of 2014, its REST server's queue, and its workers."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.database = f"sqlite:///{folder / 'core.db'}"
        #: bodies of steps in the order in which workers got them.
        self.seen: list[dict[str, Any]] = []
        self.notices = Peer(url, ["notify.*", "release.phases"])
        self.rest = Peer(url, [])
        self.workers: dict[str, OldWorker] = {}
        for peer in (self.notices, self.rest):
            peer.start()

    def start_core(self, process: Callable[..., Process], settings: dict[str, Any], *options: str) -> Process:
        """Start `reworker core -c settings.json`; `MQ` is put in."""
        parts = urlsplit(self.url)
        mq = {
            "SERVER": parts.hostname,
            "PORT": parts.port,
            "NAME": unquote(parts.username or "guest"),
            "PASSWORD": unquote(parts.password or "guest"),
            "VHOST": unquote(parts.path[1:]) or "/",
            "EXCHANGE": "re",
            "QUEUE": "re",
            "SSL": False,
        }
        path = self.folder / "settings.json"
        path.write_text(json.dumps({"MQ": mq, **settings}))
        started = process("-m", "reworker", "core", "-c", str(path), "--db", self.database, *options)
        started.wait_for_line("core core runs")
        self._storage = SqlStorage(self.folder / "core.db")
        self._logs = SqlLog(log_path(self._storage.path))
        self.service = Service(self._storage, self._logs, SystemClock())
        return started

    def start_workers(self, *commands: str, **scripts: Script) -> None:
        for command in (*commands, *scripts):
            self.workers[command] = OldWorker(self.url, command, self.seen, scripts.get(command, plain))
            self.workers[command].start()

    def store(self, playbook: str) -> str:
        """Store a playbook with our command; return its id."""
        arguments = ("-m", "reworker", "playbook", "add", "-", "--db", self.database)
        result = subprocess.run(
            [sys.executable, *arguments],
            input=playbook,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return result.stdout.strip()

    def ask(self, body: Any) -> dict[str, Any]:
        """Ask for a deployment as the REST server of 2014 did; return the answer."""
        count = len(self.rest.bodies)
        self.rest.send("re", "job.create", body, reply_to=self.rest.queue)
        wait_until(lambda: len(self.rest.bodies) > count, PATIENCE_S)
        answer: dict[str, Any] = self.rest.bodies[-1]
        return answer

    def end(self, own_id: str) -> str:
        """Wait for the end of a deployment; return its status."""
        wait_until(lambda: self.service.deployment(own_id).is_over, PATIENCE_S)
        return str(self.service.deployment(own_id).state.status)

    def steps(self) -> list[str]:
        """Return the steps that workers got: ``command:Subcommand`` and the host, if there was one."""
        parameters = (one["parameters"] for one in self.seen)
        return [
            " ".join((f"{one['command']}:{one['subcommand']}", *one.get("hosts", ()))) for one in parameters
        ]

    def close(self) -> None:
        for peer in (self.notices, self.rest, *self.workers.values()):
            peer.close()
        if hasattr(self, "_storage"):
            self._storage.close()
            self._logs.close()

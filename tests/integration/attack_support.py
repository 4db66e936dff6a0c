"""How a hostile program speaks to worker and core: headers made by hand, and everything by the wrong way."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pika import spec

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    Delivery,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.config import mq_settings
from reworker.topology import names
from reworker.topology.model import worker_topology
from tests.component.core.kit import playbook
from tests.contract.raw_client import RawClient
from tests.integration.core_support import CoreProcess, EchoWorker
from tests.support.processes import Process
from tests.support.waiting import wait_until

#: values of header fields that a client in another language may send; bytes as on the wire, with their type.
ODD_FIELDS = {
    "time of year 10^11": b"T" + struct.pack(">Q", 2**63),
    "float NaN": b"f" + struct.pack(">f", float("nan")),
    "float infinity": b"f" + struct.pack(">f", float("inf")),
    "double NaN in a list": b"A" + struct.pack(">I", 9) + b"d" + struct.pack(">d", float("nan")),
    "nested tables": b"",
    "no UTF-8": b"S" + struct.pack(">I", 2) + b"\xff\xfe",
}
LEVEL_2 = b"\x0ax-reworkerI\x00\x00\x00\x02"


def deep_table(depth: int) -> bytes:
    """Return a field that holds a table in a table in a table."""
    field = b"V"
    for _ in range(depth):
        entry = b"\x01k" + field
        field = b"F" + struct.pack(">I", len(entry)) + entry
    return field


ODD_FIELDS["nested tables"] = deep_table(3000)


def publish_raw(url: str, exchange: str, key: str, body: bytes, properties: bytes) -> bool:
    """Publish with a content header made by hand; tell whether the broker takes it.

    Args:
        properties: flags and values as on the wire.
    """
    with RawClient(url) as client:
        client.call(1, spec.Confirm.Select())
        client.send(1, spec.Basic.Publish(exchange=exchange, routing_key=key))
        client.send_frame(2, 1, struct.pack(">HHQ", 60, 0, len(body)) + properties)
        client.send_frame(3, 1, body)
        return isinstance(client.method(), spec.Basic.Ack)


def has_length(found: list[Any], count: int) -> bool:
    return len(found) == count


def short(raw: bytes) -> bytes:
    return bytes((len(raw),)) + raw


def with_headers(correlation_id: bytes, table: bytes) -> bytes:
    """Return properties as on the wire: headers, correlation id, reply_to, message id."""
    flags = struct.pack(">H", 1 << 13 | 1 << 10 | 1 << 9 | 1 << 7)
    headers = struct.pack(">I", len(table)) + table
    return flags + headers + short(correlation_id) + short(b"re.replies") + short(correlation_id + b"-m")


class Peer:
    """What other programs do to a core: replies, jobs, output of any kind; keeps answers and dead letters."""

    def __init__(self, url: str) -> None:
        self.bus = PikaBus(mq_settings(url), name="peer")
        self.bus.open(timeout_s=30)
        self.bus.declare(TopologySpec(queues=(QueueSpec("answers"), QueueSpec(names.DEAD_QUEUE))))
        self.bus.declare(worker_topology("worker.held", ["worker.held"]))
        self.dead: list[Delivery] = []
        self.answers: list[dict[str, Any]] = []
        self.bus.consume(names.DEAD_QUEUE, self._on_dead, prefetch=0)
        self.bus.consume("answers", self._on_answer, prefetch=0)

    def _on_dead(self, delivery: Delivery) -> None:
        self.dead.append(delivery)
        delivery.settle(Verdict.ACK)

    def _on_answer(self, delivery: Delivery) -> None:
        self.answers.append(json.loads(delivery.body))
        delivery.settle(Verdict.ACK)

    def send(self, exchange: str, key: str, body: Any, **properties: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        publish_and_wait(self.bus, Outgoing(exchange, key, raw, Properties(delivery_mode=2, **properties)))

    def reply(self, body: Any, correlation_id: str | None, **properties: Any) -> None:
        self.send("", names.REPLY_QUEUE, body, correlation_id=correlation_id, **properties)

    def ask(self, body: Any, **properties: Any) -> None:
        self.send(names.EXCHANGE, names.JOB_KEY, body, **{"reply_to": "answers", **properties})

    def say(self, body: Any, correlation_id: str | None) -> None:
        self.send(names.EXCHANGE, names.OUTPUT_KEY, body, correlation_id=correlation_id)

    def wait_dead(self, count: int) -> Delivery:
        """Wait for the dead letter of this number, and return it."""
        wait_until(lambda: len(self.dead) >= count, 20, f"dead letter {count}")
        return self.dead[count - 1]

    def close(self) -> None:
        self.bus.close()


class Attacked:
    """A core in a process of its own, a worker that is well, and a step that nobody has answered yet."""

    def __init__(self, start: Callable[..., Process], url: str, folder: Path) -> None:
        self.url = url
        self.core = CoreProcess(start, url, folder)
        self.core.start()
        self.core.process.wait_for_line("core .* runs")
        self.peer, self.worker = Peer(url), EchoWorker(url)
        self.playbook_id = self.core.service.library.store(playbook(locks=False)).id
        self.held_id = self.hold()

    def hold(self) -> str:
        """Start a deployment whose step waits for its answer; return its id."""
        own_id = self.core.service.submit(playbook("held:Do", locks=False))
        wait_until(lambda: self.statuses(own_id) == ["sent"], message="the step is sent")
        return own_id

    def statuses(self, own_id: str) -> list[str]:
        return [one.row.status for one in self.core.service.attempts(own_id)]

    def end(self, own_id: str) -> str:
        wait_until(lambda: self.core.service.deployment(own_id).is_over, 20, "the end of a deployment")
        return str(self.core.service.deployment(own_id).state.status)

    def check_next(self) -> None:
        """See that the core lives, and takes the next good job to its end."""
        count = len(self.peer.answers)
        self.peer.ask({"group": "web", "playbook_id": self.playbook_id})
        wait_until(lambda: len(self.peer.answers) > count, 20, "the answer to a good job")
        assert self.end(self.peer.answers[count]["id"]) == "completed"

    def close(self) -> None:
        """See that nothing was lost meanwhile: the held step is answered, the log has no surprise."""
        assert self.statuses(self.held_id) == ["sent"], "nothing of it all was taken for its answer"
        self.peer.reply({"status": "completed"}, f"{self.held_id}.1")
        assert self.end(self.held_id) == "completed"
        output = self.core.process.output
        assert "Traceback" not in output, output
        assert "lost" not in output, output
        assert "\x1b" not in output
        self.worker.close()
        self.peer.close()
        assert self.core.process.terminate() == 0
        self.core.close()

"""Malformed messages to worker and core as processes: each lives, answers, and takes the next good one."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
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
from reworker.core.dead_letters import REASON_HEADER
from reworker.topology import names
from reworker.topology.model import worker_topology
from tests.contract.raw_client import RawClient
from tests.integration.core_support import CoreProcess, EchoWorker
from tests.integration.worker_support import FakeCore, start_scripted
from tests.support.processes import Process
from tests.support.waiting import wait_until
from tests.unit.core.kit import playbook

Start = Callable[..., Process]

#: bodies that are no JSON object, or one that nobody may send.
NO_OBJECTS = [
    b"",
    b"not json",
    b"[1]",
    b"null",
    b"7",
    b'"text"',
    b"\xff\xfe{}",
    b"{" * 3000,
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a": NaN}',
    b'{"a": 1e400}',
    b'{"a": 1, "a": 2}',
    b'{"a": "\\ud800"}',
    b'{"a": "' + b"x" * 17_000_000 + b'"}',
]
BAD_STEPS = [
    *NO_OBJECTS,
    b"{}",
    b'{"parameters": null}',
    b'{"parameters": []}',
    b'{"parameters": "x"}',
    b'{"parameters": {}, "dynamic": [1]}',
    b'{"parameters": {}, "notify": {"started": {"irc": "#ops"}}}',
    b'{"parameters": {}, "notify": ["started"]}',
    b'{"parameters": {}, "group": 7}',
]
GOOD_STEP = json.dumps({"group": "g", "parameters": {"command": "scripted", "hosts": ["a"]}}).encode()

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


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


def test_worker_answers_each_malformed_step_and_takes_the_next_good_one(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    for number, body in enumerate(BAD_STEPS):
        core.wait(core.send_raw(f"{number:024x}.1", body), "failed")
        core.wait(core.send(1000 + number), "started", "completed")
    wait_until(lambda: len(core.dead) == len(BAD_STEPS), 20)
    assert [one.body for one in core.dead] == BAD_STEPS, "whoever looks after them finds them whole"
    assert "was not understood" in json.loads(core.replies[0].body)["message"]
    assert "Traceback" not in worker.output
    assert worker.terminate() == 0


def test_worker_goes_on_when_nobody_can_be_answered(
    process: Start, core: FakeCore, any_broker_url: str
) -> None:
    worker = start_scripted(process, any_broker_url)
    odd_ids = [None, "", "../../x", "x" * 255, "a\x1b]0;title\x07\nb", "\u202e"]
    for number, odd_id in enumerate(odd_ids):
        core.send_raw("", GOOD_STEP, correlation_id=odd_id)
        core.send_raw("", b"broken", correlation_id=odd_id, reply_to="no.such.queue")
        core.send_raw("", b"broken", correlation_id=odd_id, reply_to=None)
        core.wait(core.send(number), "started", "completed")
    for number, reply_to in enumerate((None, "log", "no.such.queue", "../../x")):
        core.send_raw(f"{number:024x}.7", GOOD_STEP, reply_to=reply_to)
        core.wait(core.send(100 + number), "started", "completed")
    wait_until(lambda: len(core.dead) == 2 * len(odd_ids), 20)
    assert "\x1b" not in worker.output
    assert "Traceback" not in worker.output
    assert worker.terminate() == 0


@pytest.mark.parametrize("level", [1, 2])
def test_worker_goes_on_when_its_properties_are_of_another_world(
    process: Start, core: FakeCore, any_broker_url: str, level: int
) -> None:
    """Such a message comes again after each reconnection, so it must not cost the connection."""
    worker = start_scripted(process, any_broker_url)
    table = LEVEL_2 if level == 2 else b""
    for number, (name, field) in enumerate(ODD_FIELDS.items()):
        own_id = f"{number:024x}.1"
        properties = with_headers(own_id.encode(), table + b"\x01k" + field)
        if publish_raw(any_broker_url, "re", "worker.scripted", GOOD_STEP, properties):
            core.wait(own_id, "started", "completed")
        core.wait(core.send(1000 + number), "started", "completed")
        assert "lost" not in worker.output, name
    for number, odd_id in enumerate((b"\xff\xfe", b"x" * 250, b"a\x00b")):
        count = len(core.replies)
        properties = with_headers(odd_id, table)
        assert publish_raw(any_broker_url, "re", "worker.scripted", GOOD_STEP, properties)
        core.wait(core.send(2000 + number), "started", "completed")
        wait_until(partial(has_length, core.replies, count + 4), 10, repr(odd_id))
    assert "Traceback" not in worker.output
    assert worker.terminate() == 0


class Peer:
    """What other programs do to a core: replies, jobs, output of any kind; keeps answers and dead letters."""

    def __init__(self, url: str) -> None:
        self.bus = PikaBus(mq_settings(url), name="peer")
        self.bus.open(timeout_s=10)
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

    def __init__(self, start: Start, url: str, folder: Path) -> None:
        self.url = url
        self.core = CoreProcess(start, url, folder)
        self.core.start()
        self.core.process.wait_for_line("core .* runs")
        self.peer, self.worker = Peer(url), EchoWorker(url)
        self.playbook_id = self.core.service.store_playbook(playbook()).id
        self.held_id = self.hold()

    def hold(self) -> str:
        """Start a deployment whose step waits for its answer; return its id."""
        own_id = self.core.service.submit(playbook("held:Do"))
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


@pytest.fixture
def attacked(process: Start, any_broker_url: str, tmp_path: Path) -> Iterator[Attacked]:
    made = Attacked(process, any_broker_url, tmp_path)
    yield made
    made.close()


def test_core_sets_each_unreadable_reply_aside_and_takes_the_next_good_one(attacked: Attacked) -> None:
    own = f"{attacked.held_id}.1"
    for number, body in enumerate(NO_OBJECTS, start=1):
        attacked.peer.reply(body, own)
        letter = attacked.peer.wait_dead(number)
        assert letter.body == body
        assert len(body) > 1 << 20 or REASON_HEADER in letter.properties.headers
        attacked.check_next()
    odd_ids = (
        None,
        "",
        "../../x",
        "x" * 255,
        "0" * 24 + ".1",
        f"{own}0",
        f"{attacked.held_id}.-1",
        "\x1b]0;t\x07",
    )
    for number, odd_id in enumerate(odd_ids, start=len(NO_OBJECTS) + 1):
        attacked.peer.reply({"status": "completed"}, odd_id)
        assert "attempt" in attacked.peer.wait_dead(number).properties.headers[REASON_HEADER]
        attacked.check_next()
    attacked.peer.reply({"status": "completed"}, own, content_encoding="gzip")
    last = attacked.peer.wait_dead(len(NO_OBJECTS) + len(odd_ids) + 1)
    assert "gzip" in last.properties.headers[REASON_HEADER]


def test_core_fails_the_step_when_a_reply_has_no_status_it_knows(attacked: Attacked) -> None:
    for status in ("Started", "", 1, None, ["completed"], {"a": 1}, "\x1b]0;title\x07", "x" * 10_000):
        own_id = attacked.hold()
        attacked.peer.reply({"status": status}, f"{own_id}.1")
        assert attacked.end(own_id) == "failed"
        assert "known statuses" in attacked.core.service.deployment(own_id).state.reason
    own_id = attacked.hold()
    attacked.peer.reply({}, f"{own_id}.1")
    assert attacked.end(own_id) == "failed"
    attacked.check_next()
    assert attacked.peer.dead == []


def test_core_records_and_ignores_replies_when_they_come_twice_late_or_in_reverse(attacked: Attacked) -> None:
    started, completed, failed = ({"status": one} for one in ("started", "completed", "failed"))
    for replies, status, ignored in (
        ((completed, started), "completed", ["ReplyStarted"]),
        ((started, started, completed), "completed", ["ReplyStarted"]),
        ((completed, failed), "completed", ["ReplyFailed"]),
        ((failed, completed), "failed", ["ReplyCompleted"]),
    ):
        own_id = attacked.hold()
        for number, reply in enumerate(replies):
            attacked.peer.reply(reply, f"{own_id}.1", message_id=f"{own_id}-{number}")
        attacked.check_next()
        assert attacked.end(own_id) == status
        events = attacked.core.service.events(own_id)
        assert [one.kind for one in events if one.ignored] == ignored
    ids = [attacked.hold() for _ in range(3)]
    for own_id in reversed(ids):
        attacked.peer.reply(started, f"{own_id}.1", message_id="the same for all")
        for _ in range(100):
            attacked.peer.reply(completed, f"{own_id}.1", message_id="the same for all")
    assert {attacked.end(one) for one in ids} == {"completed"}
    kinds = [one.kind for one in attacked.core.service.events(ids[0])]
    assert kinds == ["Submitted", "DispatchConfirmed", "ReplyStarted", "ReplyCompleted"]


def test_core_ignores_replies_when_their_deployment_was_cancelled(attacked: Attacked) -> None:
    own_id = attacked.hold()
    attacked.core.service.cancel(own_id, reason="enough")
    attacked.peer.reply({"status": "cancelled"}, f"{own_id}.1")
    assert attacked.end(own_id) == "cancelled"
    attacked.peer.reply({"status": "completed"}, f"{own_id}.1")
    attacked.check_next()
    assert [one.kind for one in attacked.core.service.events(own_id) if one.ignored] == ["ReplyCompleted"]
    assert attacked.end(own_id) == "cancelled"


def test_core_lives_when_properties_of_a_reply_are_of_another_world(attacked: Attacked) -> None:
    """Such a reply comes again after each reconnection, so it must not cost the connection."""
    body = b'{"status": "completed"}'
    for field in ODD_FIELDS.values():
        own_id = attacked.hold()
        properties = with_headers(f"{own_id}.1".encode(), LEVEL_2 + b"\x01k" + field)
        if not publish_raw(attacked.url, "", names.REPLY_QUEUE, body, properties):
            attacked.peer.reply({"status": "completed"}, f"{own_id}.1")
        assert attacked.end(own_id) == "completed"
    for odd_id in (b"\xff\xfe", b"a\x00b"):
        count = len(attacked.peer.dead)
        assert publish_raw(attacked.url, "", names.REPLY_QUEUE, body, with_headers(odd_id, LEVEL_2))
        attacked.peer.wait_dead(count + 1)
        attacked.check_next()
    own_id = attacked.hold()
    name = LEVEL_2 + b"\x08x-workerS\x00\x00\x00\x05a\xff\x1b\x00b"
    own = f"{own_id}.1".encode()
    properties = with_headers(own, name).replace(own + b"-m", b"\xff" * len(own + b"-m"))
    assert publish_raw(attacked.url, "", names.REPLY_QUEUE, body, properties)
    assert attacked.end(own_id) == "completed"


def test_core_answers_each_malformed_job_and_takes_the_next_good_one(attacked: Attacked) -> None:
    good = {"group": "web", "playbook_id": attacked.playbook_id}
    jobs = [
        *NO_OBJECTS,
        {},
        {"group": "web"},
        {**good, "group": 1},
        {**good, "playbook_id": ["x"]},
        {**good, "dynamic": [1]},
    ]
    for number, body in enumerate(jobs, start=1):
        before = len(attacked.peer.answers)
        attacked.peer.ask(body)
        attacked.peer.wait_dead(number)
        wait_until(partial(has_length, attacked.peer.answers, before + 1), 20, "an answer")
        assert attacked.peer.answers[before]["id"] is None
        assert attacked.peer.answers[before]["error"]
        attacked.check_next()
    attacked.peer.ask({**good, "playbook_id": "../../x"})
    wait_until(lambda: "no playbook" in attacked.peer.answers[-1].get("error", ""), 20, "a refusal")
    odd: list[tuple[Any, dict[str, Any]]] = [
        (good, {"reply_to": None}),
        (good, {"reply_to": "no.such.queue"}),
        (good, {"correlation_id": "x" * 255, "message_id": "y" * 255}),
        ({**good, "dynamic": None, "user_id": "\x1b]0;t\x07"}, {"app_id": "\x1b[2J"}),
    ]
    for body, properties in odd:
        before = len(attacked.peer.answers)
        attacked.peer.ask(body, **properties)
        is_answered = "reply_to" not in properties
        wait_until(partial(has_length, attacked.peer.answers, before + is_answered))
        attacked.check_next()
    assert len(attacked.peer.dead) == len(jobs)


def test_core_sets_unusable_output_aside_and_keeps_odd_lines_as_they_are(attacked: Attacked) -> None:
    own = f"{attacked.held_id}.1"
    bad: list[tuple[Any, str | None]] = [
        (body, own) for body in (*NO_OBJECTS, b"{}", b'{"message": 1}', b'{"message": null}')
    ]
    bad += [({"message": "x"}, odd_id) for odd_id in (None, "", "../../x", "x" * 255)]
    for number, (body, correlation_id) in enumerate(bad, start=1):
        attacked.peer.say(body, correlation_id)
        attacked.peer.wait_dead(number)
    odd = ["\x1b[31mred", "\x1b]0;title\x07", "over\rwrite", "\u202egpj.exe", "</script>", "a\nb", "nul\0"]
    for text in odd:
        attacked.peer.say({"message": text}, own)
    service = attacked.core.service
    wait_until(lambda: len(service.log_lines(attacked.held_id)) == len(odd), 20, "lines")
    assert [one.text for one in service.log_lines(attacked.held_id)] == odd
    attacked.check_next()

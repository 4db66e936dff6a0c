"""Malformed messages to worker and core as processes: each lives, answers, and takes the next good one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reworker.core.dead_letters import REASON_HEADER
from reworker.topology import names
from tests.integration.attack_support import (
    LEVEL_2,
    ODD_FIELDS,
    Attacked,
    has_length,
    publish_raw,
    with_headers,
)
from tests.integration.worker_support import FakeCore, start_scripted
from tests.support.processes import Process
from tests.support.rabbitmq_homes import home_of, wanted_version
from tests.support.waiting import wait_until

Start = Callable[..., Process]

#: bytes of a body far over our limits; RabbitMQ 4 refuses those over 16 MiB itself.
HUGE_BYTES = 16_000_000 if home_of(wanted_version()).version.startswith("4.") else 17_000_000
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
    b'{"a": "' + b"x" * HUGE_BYTES + b'"}',
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
    wait_until(lambda: len(core.dead) == len(BAD_STEPS), 60)
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
    wait_until(lambda: len(core.dead) == 2 * len(odd_ids), 60)
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
        wait_until(partial(has_length, core.replies, count + 4), 30, repr(odd_id))
    assert "Traceback" not in worker.output
    assert worker.terminate() == 0


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

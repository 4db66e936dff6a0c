"""Malformed and odd messages, and those that owe no status."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.testing import Harness
from reworker.testing.harness import CORRELATION_ID
from reworker.testing.scripted import ScriptedWorker
from tests.unit.worker.kit import LEVEL_2, body

# malformed messages


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[1]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"a": 1, "a": 2}',
        b'{"parameters": {"x": NaN}}',
        b'{"group": "g"}',
        b'{"group": "g", "parameters": []}',
        b'{"group": 7, "parameters": {}}',
        b'{"parameters": {}, "dynamic": [1]}',
        b'{"parameters": {}, "notify": {"started": {"irc": "#chan"}}}',
        b'{"parameters": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        b'{"parameters": {"a": "' + b"x" * (1 << 20) + b'"}}',
    ],
    ids=lambda raw: raw[:24].decode("ascii", "replace"),
)
def test_malformed_message_is_answered_and_dead_lettered_when_it_arrives(raw: bytes) -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(raw))
    assert transcript.statuses == ["failed"]
    assert "was not understood" in transcript.message
    assert transcript.settled == "dead letter"
    assert harness.run(harness.delivery(body())).statuses == ["started", "completed"]


def test_malformed_message_is_dead_lettered_when_nobody_waits_for_a_reply() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(b"x", reply_to=None, correlation_id=None))
    assert (transcript.sent, transcript.settled) == ([], "dead letter")


def test_content_encoding_is_refused_when_unknown() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(body(), content_encoding="gzip"))
    assert "gzip" in transcript.message


def test_null_dynamic_and_notify_are_empty_when_a_peer_sends_them() -> None:
    seen: list[Any] = []

    class Looking(ScriptedWorker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            seen.append((body["dynamic"], body["notify"]))
            super().process(channel, basic_deliver, properties, body, output)

    harness = Harness(Looking)
    transcript = harness.run(harness.delivery({"parameters": {}, "dynamic": None, "notify": None}))
    assert (seen, transcript.statuses) == ([({}, {})], ["started", "completed"])


@pytest.mark.parametrize("correlation_id", [None, "", "../../x", "x" * 255, "a b\n\x1b[0m"])
def test_correlation_id_is_echoed_as_it_came_when_odd(correlation_id: str | None) -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(body(), correlation_id=correlation_id))
    assert transcript.statuses == ["started", "completed"]
    assert {one.properties.correlation_id for one in transcript.sent} == {correlation_id}


@pytest.mark.parametrize("correlation_id", ["x" * 255, "\u00e9" * 127, "\udcff\udcfe", "a\0b"])
def test_replies_have_ids_of_their_own_when_the_correlation_id_leaves_no_room(correlation_id: str) -> None:
    harness = Harness(ScriptedWorker)
    twice = [
        harness.run(harness.delivery(body(), headers=LEVEL_2, correlation_id=correlation_id))
        for _ in range(2)
    ]
    assert [one.statuses for one in twice] == [["started", "completed"], ["completed"]]
    assert {one.settled for one in twice} == {"ack"}
    started, completed, again = [
        one.properties.message_id for run in twice for one in run.sent if one.properties.message_id
    ]
    assert started != completed == again, "the core knows the answer sent again by its id"


@pytest.mark.parametrize(
    ("topic", "corr_id", "exchange"),
    [
        ("x" * 256, CORRELATION_ID, ""),
        ("x", CORRELATION_ID, "e" * 256),
        ("x", "1" * 10_000, ""),
        ("x", "\ud800", ""),
    ],
)
def test_delivery_is_settled_when_a_plugin_sends_what_amqp_cannot_carry(
    topic: str, corr_id: str, exchange: str
) -> None:
    class Long(ScriptedWorker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            self.ack(basic_deliver)
            self.send(topic, corr_id, {"status": "completed"}, exchange=exchange)

    harness = Harness(Long)
    transcript = harness.run(harness.delivery(body()))
    assert (transcript.statuses, transcript.settled) == (["failed"], "ack")
    assert "AMQP" in transcript.message or "surrogates" in transcript.message


@pytest.mark.parametrize("reply_to", [None, "log"])
def test_job_runs_silently_when_nobody_asked_for_replies(reply_to: str | None) -> None:
    harness = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    transcript = harness.run(harness.delivery(body(), reply_to=reply_to))
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_delivery_is_settled_and_counted_once_when_the_reply_queue_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness(ScriptedWorker)
    harness.bus.gone.add("re.replies")
    transcript = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert transcript.settled == "ack"
    assert harness.station.counts["unroutable"] == 2
    assert caplog.text.count("was not taken") == 1


# output and notification workers owe no status


@pytest.mark.parametrize("key", ["output", "notify.irc"])
def test_no_reply_is_made_when_a_message_owes_none(key: str) -> None:
    harness = Harness(ScriptedWorker)
    message = {"parameters": {"outcome": "silent"}, "message": "x"}
    transcript = harness.run(harness.delivery(message, routing_key=key))
    assert transcript.statuses == ["started"]
    assert transcript.output == []


def test_message_is_dead_lettered_when_its_job_raised_and_nobody_hears() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery({"parameters": {"outcome": "raise"}}, routing_key="output"))
    assert (transcript.statuses, transcript.settled) == (["started"], "dead letter")


def test_message_goes_back_plainly_when_it_owes_no_status_and_is_rejected_with_requeue() -> None:
    harness = Harness(ScriptedWorker)
    message = {"parameters": {"outcome": "give_back"}}
    transcript = harness.run(harness.delivery(message, routing_key="notify.irc"))
    assert (transcript.sent, transcript.settled) == ([], "requeue")


def test_worker_never_answers_when_its_class_says_so() -> None:
    class Quiet(ScriptedWorker):
        reports_status = False

    harness = Harness(Quiet, OUTPUT_LEVEL="INFO")
    assert harness.run(harness.delivery({"parameters": {"outcome": "silent"}})).statuses == ["started"]
    assert harness.run(harness.delivery(b"broken")).sent == []


def test_lifecycle_lines_are_sent_when_the_level_is_debug() -> None:
    harness = Harness(ScriptedWorker)
    lines = harness.run(harness.delivery(body())).output
    assert [line.split()[0] for line in lines] == ["Starting", "Finished"]
    assert f"ScriptedWorker.{CORRELATION_ID}" in lines[0]
    quiet = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    assert quiet.run(quiet.delivery(body())).output == []

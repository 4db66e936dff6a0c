"""Notifications as they come in: read, tried again later with what is left to do, or kept as evidence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reworker.errors import JobFailed, JobRetry
from reworker.testing import Harness
from reworker.testing.harness import FakeDelivery
from reworker.worker import Notification, Worker, notification_of

NOTE = {"slug": "s", "message": "m", "phase": "failed", "target": ["a", "b"]}


class Teller(Worker):
    """Raises what it is told to."""

    routing_keys = ("notify.test",)
    error: BaseException | None = None
    seen: Any = None

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.seen = notification_of(body)
        if self.error is not None:
            raise self.error


def told(error: BaseException | None = None, **options: Any) -> tuple[Harness, FakeDelivery, Any]:
    harness = Harness(Teller, queue="teller")
    harness.worker.error = error  # type: ignore[attr-defined]  # of Teller
    delivery = harness.delivery(NOTE, routing_key="notify.test", reply_to="log", **options)
    return harness, delivery, harness.run(delivery)


def test_notification_is_read_when_it_is_whole() -> None:
    harness, _, transcript = told()
    assert harness.worker.seen == Notification("s", "m", "failed", ["a", "b"])  # type: ignore[attr-defined]  # of Teller
    assert (transcript.sent, transcript.settled) == ([], "ack")


@pytest.mark.parametrize(
    "change", [{"target": "a"}, {"target": [1]}, {"slug": None}, {"message": 1}, {"phase": []}]
)
def test_message_is_refused_when_it_is_no_notification(change: dict[str, Any]) -> None:
    with pytest.raises(JobFailed, match="is no notification: Expected"):
        notification_of({**NOTE, **change})


def test_notification_waits_at_the_broker_with_what_is_left_when_it_is_tried_again() -> None:
    harness, _, transcript = told(JobRetry((2, 30), "b is away", changes={"target": ["b"]}))
    (sent,) = transcript.sent
    assert (transcript.settled, sent.routing_key) == ("ack", "worker.teller.retry.2s")
    assert json.loads(sent.body) == {**NOTE, "target": ["b"]}
    waiting = {"x-tries": 1, "x-retry-error": "b is away", "x-routing-key": "notify.test"}
    assert sent.properties.headers == waiting

    harness.worker.error = JobRetry((2, 30), "b is away")  # type: ignore[attr-defined]  # of Teller
    options = {"headers": sent.properties.headers, "reply_to": "log"}
    again = harness.run(harness.delivery(sent.body, routing_key="worker.teller", **options))
    assert harness.worker.seen.target == ["b"]  # type: ignore[attr-defined]  # of Teller
    assert again.sent[0].routing_key == "worker.teller.retry.30s"
    assert again.sent[0].properties.headers == {**waiting, "x-tries": 2}


def test_notification_goes_to_the_end_of_its_queue_when_it_is_tried_again_at_once() -> None:
    _, _, transcript = told(JobRetry(()))
    assert transcript.sent[0].routing_key == "worker.teller"
    assert transcript.sent[0].properties.headers["x-tries"] == 1


def test_notification_is_dead_lettered_with_its_reason_in_the_log_when_tried_too_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, _, transcript = told(JobRetry(1, "server away"), headers={"x-tries": 19})
    assert (transcript.sent, transcript.settled) == ([], "dead letter")
    assert "dead-lettered: gave up after 20 tries: server away" in caplog.text


def test_notification_is_dead_lettered_with_its_reason_in_the_log_when_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, _, transcript = told(JobFailed("no such target"))
    assert (transcript.sent, transcript.settled) == ([], "dead letter")
    assert "dead-lettered: no such target" in caplog.text


def test_step_cannot_hide_from_its_status_when_it_says_it_was_a_step() -> None:
    harness = Harness(Teller, queue="teller")
    headers = {"x-routing-key": "worker.other"}
    delivery = harness.delivery({"parameters": {}}, routing_key="worker.teller", headers=headers)
    assert harness.run(delivery).statuses == ["failed"]

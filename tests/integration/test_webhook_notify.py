"""The webhook worker and a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replugin.webhooknotifyworker import WebhookNotifyWorker
from reworker.testing import Harness, Transcript, deliver
from tests.support.certificates import make_certificate
from tests.support.http_server import Answer, HttpServer
from tests.support.ports import free_port

NOTE = {"slug": "Failed step", "message": "disk full", "phase": "failed", "target": ["inventory"]}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as made:
        yield made


def told(url: str, target: list[str] | None = None, **config: Any) -> tuple[Harness, Transcript]:
    """Have a worker tell of NOTE."""
    targets = {
        "inventory": {"url": f"{url}/inventory", "secret": "open sesame"},
        "chat": {"url": f"{url}/chat/token", "form": "slack"},
        "moved": {"url": f"{url}/moved"},
    }
    harness = Harness(WebhookNotifyWorker, {"targets": targets, "retry_s": [1, 30], **config})
    note = {**NOTE, **({"target": target} if target is not None else {})}
    delivery = harness.delivery(note, routing_key="notify.webhook", message_id="m1", reply_to="log")
    return harness, harness.run(delivery)


def test_target_can_tell_that_it_is_ours_when_it_gets_a_notification(server: HttpServer) -> None:
    _, transcript = told(server.url)
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/inventory")
    words = dict(one.split("=") for one in request.headers["x-reworker-signature"].split(","))
    signed = f"{words['t']}.".encode() + request.body
    assert words["v1"] == hmac.new(b"open sesame", signed, hashlib.sha256).hexdigest()
    assert abs(time.time() - int(words["t"])) < 60
    body = json.loads(request.body)
    assert (body["slug"], body["id"]) == ("Failed step", request.headers["x-reworker-delivery"])
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_chat_gets_a_text_when_it_is_of_that_kind(server: HttpServer) -> None:
    told(server.url, ["chat"])
    (request,) = server.requests
    assert json.loads(request.body) == {"text": "Failed step: disk full"}
    assert "x-reworker-signature" not in request.headers


def test_others_get_theirs_when_a_target_refuses_or_is_busy(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = {
        "/moved": Answer(302, {"Location": f"{server.url}/elsewhere"}),
        "/chat/token": Answer(503, body=b"later\r\n\x1b[0m" + b"x" * 9000),
    }
    harness, transcript = told(server.url, ["moved", "chat", "inventory", "nobody"])
    assert sorted(one.path for one in server.requests) == ["/chat/token", "/inventory", "/moved"]
    assert "no webhook to 'moved': answered 302 Found" in caplog.text
    assert "no webhook to 'nobody': no such target" in caplog.text
    assert "token" not in caplog.text
    assert max(map(len, caplog.messages)) < 500
    (again,) = transcript.sent
    assert (again.routing_key, transcript.settled) == ("worker.webhooknotify.retry.1s", "ack")
    assert json.loads(again.body)["target"] == ["chat"]

    server.answers = {}
    options: dict[str, Any] = {"headers": again.properties.headers, "message_id": "m1"}
    last = harness.run(harness.delivery(again.body, routing_key="worker.webhooknotify", **options))
    assert (last.settled, last.sent) == ("ack", [])
    ids = {one.headers["x-reworker-delivery"] for one in server.requests if one.path == "/chat/token"}
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("headers", "limit_s", "queue"),
    [
        ({}, 900, "worker.webhooknotify.retry.1s"),
        ({"Retry-After": "40"}, 900, "worker.webhooknotify.retry.60s"),
        ({"Retry-After": "86400"}, 250, "worker.webhooknotify.retry.300s"),
    ],
)
def test_receiver_is_left_alone_as_long_as_it_asks_for_up_to_a_limit(
    server: HttpServer, headers: dict[str, str], limit_s: float, queue: str
) -> None:
    server.answers["/inventory"] = Answer(429, headers)
    _, transcript = told(server.url, retry_after_limit_s=limit_s)
    assert [one.routing_key for one in transcript.sent] == [queue]


@pytest.mark.parametrize("answer", [Answer(0), Answer(is_slow=True), Answer(200, {"X-Long": "x" * 70_000})])
def test_notification_waits_when_the_answer_is_none(server: HttpServer, answer: Answer) -> None:
    server.answers["/inventory"] = answer
    begin = time.monotonic()
    _, transcript = told(server.url, request_timeout_s=0.3)
    assert time.monotonic() - begin < 30, "an answer has no end"
    assert [one.routing_key for one in transcript.sent] == ["worker.webhooknotify.retry.1s"]


def test_notification_waits_when_nobody_listens() -> None:
    _, transcript = told(f"http://localhost:{free_port()}")
    assert [one.routing_key for one in transcript.sent] == ["worker.webhooknotify.retry.1s"]


def test_notification_is_dead_lettered_when_it_is_refused(
    server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["/inventory"] = Answer(400, body=b"bad form")
    _, transcript = told(server.url)
    assert (transcript.sent, transcript.settled) == ([], "dead letter")
    assert "'inventory': answered 400 Bad Request: bad form" in caplog.text.partition("dead-lettered")[2]


def test_url_of_a_message_gets_a_signed_body_when_it_is_allowed(server: HttpServer) -> None:
    allowed = {"allow": [f"{server.url}/hooks/"], "secret": "common"}
    _, transcript = told(server.url, [f"{server.url}/hooks/7?a=b"], **allowed)
    assert transcript.settled == "ack"
    assert server.requests[0].path == "/hooks/7?a=b"
    assert server.requests[0].headers["x-reworker-signature"].startswith("t=")
    _, refused = told(server.url, [f"{server.url}/other"], **allowed)
    assert (len(server.requests), refused.settled) == (1, "dead letter")


def test_only_trusted_servers_are_told_when_they_speak_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with HttpServer(certificate.server_context()) as server:
        _, transcript = told(server.url, ca=str(certificate.cert))
        assert (transcript.settled, len(server.requests)) == ("ack", 1)
        _, distrusted = told(server.url)
        assert (len(distrusted.sent), len(server.requests)) == (1, 1)


def test_step_is_tried_again_for_the_target_that_may_take_it_later(server: HttpServer) -> None:
    targets = {"a": {"url": f"{server.url}/a"}, "b": {"url": f"{server.url}/b"}}
    parameters = {"slug": "s", "message": "m", "target": ["a", "b"]}
    config = {"targets": targets, "retry_s": [1]}
    done = deliver(WebhookNotifyWorker, "webhooknotify:Send", parameters, config=config)
    assert (done.statuses, done.data) == (["started", "completed"], {"sent": ["a", "b"], "refused": {}})
    server.answers["/b"] = Answer(500)
    waits = deliver(WebhookNotifyWorker, "webhooknotify:Send", parameters, config=config)
    assert waits.statuses == ["started", "running"]
    assert json.loads(waits.sent[-1].body)["parameters"]["target"] == ["b"]


#: the notification of a task's result, as the core sends it.
RESULT_NOTE = {
    "slug": "Task of Fib",
    "message": "01a2 error: exit code 3",
    "phase": "failed",
    "target": ["inventory", "chat"],
    "result": {"id": "01a2", "code_name": "Fib", "status": "error", "msg": "exit code 3"},
}


def test_result_of_a_task_is_posted_as_it_is_and_in_words_to_a_chat(server: HttpServer) -> None:
    harness, _ = told(server.url, [])
    server.requests.clear()
    options: dict[str, Any] = {"routing_key": "notify.webhook", "message_id": "01a2.webhook"}
    assert harness.run(harness.delivery(RESULT_NOTE, **options)).settled == "ack"
    by_path = {one.path: one for one in server.requests}
    assert json.loads(by_path["/inventory"].body) == RESULT_NOTE["result"]
    words = dict(one.split("=") for one in by_path["/inventory"].headers["x-reworker-signature"].split(","))
    signed = f"{words['t']}.".encode() + by_path["/inventory"].body
    assert words["v1"] == hmac.new(b"open sesame", signed, hashlib.sha256).hexdigest()
    assert json.loads(by_path["/chat/token"].body) == {"text": "Task of Fib: 01a2 error: exit code 3"}


def test_result_goes_to_no_address_that_the_settings_do_not_allow(server: HttpServer) -> None:
    harness, _ = told(server.url, [], allow=[f"{server.url}/hooks/"])
    server.requests.clear()
    inner = ("http://169.254.169.254/latest", f"{server.url}/hooks/../inventory", f"{server.url}/other")
    for url in inner:
        note = {**RESULT_NOTE, "target": [url]}
        options: dict[str, Any] = {"routing_key": "notify.webhook", "message_id": "01a2.webhook"}
        assert harness.run(harness.delivery(note, **options)).settled == "dead letter"
    assert server.requests == []


def test_result_waits_and_is_the_same_when_the_receiver_is_busy(server: HttpServer) -> None:
    server.answers["/inventory"] = Answer(503)
    harness, _ = told(server.url, [])
    server.requests.clear()
    note = {**RESULT_NOTE, "target": ["inventory"]}
    options: dict[str, Any] = {"routing_key": "notify.webhook", "message_id": "01a2.webhook"}
    (again,) = harness.run(harness.delivery(note, **options)).sent
    server.answers = {}
    options = {"headers": again.properties.headers, "message_id": "01a2.webhook"}
    assert harness.run(harness.delivery(again.body, routing_key="worker.webhooknotify", **options)).settled
    first, second = server.requests
    assert json.loads(second.body) == RESULT_NOTE["result"]
    assert first.headers["x-reworker-delivery"] == second.headers["x-reworker-delivery"]

"""The httprequest worker and a real HTTP server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replugin.httprequestworker import HttpRequestWorker
from reworker.testing import Transcript, deliver
from tests.support.certificates import make_certificate
from tests.support.http_server import Answer, HttpServer
from tests.support.ports import free_port
from tests.support.waiting import wait_until

SECRET = "open-sesame"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as made:
        yield made


def requested(url: str, subcommand: str = "Get", path: str = "/api/x", **options: Any) -> Transcript:
    """Have a worker make a request; `config` are settings, `hosts` the step's, the rest its parameters."""
    base = {"url": f"{url}/api/", "headers": {"Authorization": f"Bearer {SECRET}"}}
    config = {"bases": {"api": base}, **options.pop("config", {})}
    hosts = options.pop("hosts", ("web1",))
    parameters = {"url": f"{url}{path}", **options}
    return deliver(HttpRequestWorker, f"httprequest:{subcommand}", parameters, hosts=hosts, config=config)


def test_answer_comes_back_when_it_was_asked_for(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(200, {"Content-Type": "application/json", "X-A": "b"}, b'{"up": true}')
    transcript = requested(server.url, path="/api/x?full=1", headers={"X-Own": "c"})
    assert transcript.statuses == ["started", "completed"]
    assert (transcript.data["status"], transcript.data["json"]) == (200, {"up": True})
    assert transcript.data["headers"]["x-a"] == "b"
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/x?full=1")
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.headers["x-own"] == "c"
    assert transcript.output == [f"GET {server.url}/api/x?full=1: 200 OK"]


@pytest.mark.parametrize("subcommand", ["Put", "Post", "Patch"])
def test_value_is_sent_as_json_and_text_as_it_is(server: HttpServer, subcommand: str) -> None:
    requested(server.url, subcommand, json={"a": [1]})
    requested(server.url, subcommand, body="caf\u00e9", headers={"Content-Type": "text/plain"})
    requested(server.url, subcommand)
    first, second, third = server.requests
    assert {one.method for one in server.requests} == {subcommand.upper()}
    assert (first.body, first.headers["content-type"]) == (b'{"a":[1]}', "application/json")
    assert (second.body, second.headers["content-type"]) == ("caf\u00e9".encode(), "text/plain")
    assert third.body == b""


def test_head_and_delete_have_no_body(server: HttpServer) -> None:
    assert requested(server.url, "Head").data["body"] == ""
    assert requested(server.url, "Delete").statuses == ["started", "completed"]
    assert [one.method for one in server.requests] == ["HEAD", "DELETE"]


def test_step_fails_with_the_answer_when_its_status_is_not_expected(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(409, {}, b"locked")
    transcript = requested(server.url)
    assert transcript.statuses == ["started", "failed"]
    assert transcript.message == f"GET {server.url}/api/x answered 409 Conflict"
    assert (transcript.data["status"], transcript.data["body"]) == (409, "locked")
    assert requested(server.url, expect=[200, 409]).statuses == ["started", "completed"]


def test_redirect_is_not_followed(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(302, {"Location": f"{server.url}/admin"})
    assert requested(server.url).statuses == ["started", "failed"]
    assert [one.path for one in server.requests] == ["/api/x"]


def test_secret_is_nowhere_when_the_server_sends_it_back(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(200, {"X-Echo": f"Bearer {SECRET}"}, f"you said {SECRET}".encode())
    transcript = requested(server.url, path=f"/api/x?token={SECRET}")
    assert transcript.data["body"] == "you said ***"
    assert transcript.data["headers"]["x-echo"] == "***"
    assert all(SECRET.encode() not in one.body for one in transcript.sent)


def test_answer_is_cut_when_it_is_long(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(200, {}, b"x" * 100_000)
    data = requested(server.url, config={"answer_bytes": 1000}).data
    assert (data["body"], data["is_cut"]) == ("x" * 1000, True)


@pytest.mark.parametrize("answer", [Answer(0), Answer(is_slow=True)])
@pytest.mark.parametrize(
    ("subcommand", "status"), [("Get", "failed"), ("Put", "failed"), ("Post", "unknown")]
)
def test_effect_is_in_doubt_only_when_a_request_must_not_be_repeated(
    server: HttpServer, answer: Answer, subcommand: str, status: str
) -> None:
    server.answers["/api/x"] = answer
    begin = time.monotonic()
    transcript = requested(server.url, subcommand, config={"request_timeout_s": 0.3})
    assert time.monotonic() - begin < 30, "an answer has no end"
    assert transcript.statuses == ["started", status]


def test_no_connection_is_left_when_an_answer_has_no_end(server: HttpServer) -> None:
    server.answers["/api/x"] = Answer(is_slow=True)
    before = len(os.listdir("/proc/self/fd"))
    kept = [requested(server.url, config={"request_timeout_s": 0.1}) for _ in range(3)]
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before, message="the end of all connections")
    assert [one.statuses for one in kept] == [["started", "failed"]] * 3


def test_step_fails_when_nobody_listens() -> None:
    transcript = requested(f"http://localhost:{free_port()}", "Post")
    assert transcript.statuses == ["started", "failed"]
    assert "refused" in transcript.message


def test_request_goes_to_the_steps_host(server: HttpServer) -> None:
    config = {"bases": {"host": {"url": f"http://{{host}}:{server.port}/"}}}
    url = f"http://{{host}}:{server.port}/health"
    parameters = {"url": url}
    transcript = deliver(HttpRequestWorker, "httprequest:Get", parameters, hosts=["localhost"], config=config)
    assert transcript.statuses == ["started", "completed"]
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


def test_only_trusted_servers_get_a_request_when_they_speak_tls(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with HttpServer(certificate.server_context()) as server:
        assert requested(server.url, config={"ca": str(certificate.cert)}).data["status"] == 200
        assert "certificate" in requested(server.url).message
        assert len(server.requests) == 1

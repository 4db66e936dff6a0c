"""HTTP at ``/2`` as old and odd clients speak it, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.integration.ironworker_support import Iron, own_project, raw, refused, said
from tests.support.api import Api, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("wire")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own, with a code."""
    made = Iron(api, project=own_project(api))
    made.upload()
    return made


def request_of(iron: Iron, line: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """Return a request as bytes; `{p}` in its line is the path of the project."""
    first = line.replace("{p}", f"/2/projects/{iron.project}")
    head = [first, f"Host: {host}", f"Authorization: OAuth {iron.token}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize(
    "place", ["http://localhost:8080", "http://worker-aws-us-east-1.iron.io:443", "https://x"]
)
def test_request_in_the_form_for_proxies_is_answered(iron: Iron, place: str) -> None:
    """So come the streamed logs of the Ruby client, and all of what runs with HTTP_PROXY naming us."""
    host = place.partition("://")[2]
    line = f"GET {place}{{p}}/codes? HTTP/1.1"
    status, head, body = raw(iron.api, request_of(iron, line, host=host))
    assert (status, len(json.loads(body)["codes"])) == (200, 1)
    assert b"application/json" in head


def test_request_for_proxies_works_through_a_client_that_uses_us_as_its_proxy(iron: Iron) -> None:
    with httpx.Client(proxy=iron.api.url, trust_env=False, verify=False, timeout=30) as client:
        address = f"http://worker-aws-us-east-1.iron.io/2/projects/{iron.project}/tasks?oauth={iron.token}"
        answer = client.post(address, json={"tasks": [{"code_name": "Hello", "payload": "{}"}]})
        assert said(answer)["msg"] == "Queued up"


def test_only_addresses_of_this_dialect_are_taken_in_the_form_for_proxies(iron: Iron) -> None:
    for place in (
        "http://example.com/api/v1/deployments",
        "http://example.com/",
        "http://example.com/x/2/codes",
    ):
        status, _, _ = raw(iron.api, request_of(iron, f"GET {place} HTTP/1.1", host="example.com"))
        assert status == 404


def test_unmodified_program_works_when_authentication_is_off(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The guides' programs have a token of IronWorker in them; with no authentication any is good."""
    with serving(tmp_path_factory.mktemp("open"), has_auth=False) as api:
        api.service.projects.add("JpoAig")
        iron = Iron(api, project="JpoAig")
        line = "GET http://worker-aws-us-east-1.iron.io/2/projects/JpoAig/codes?oauth=aRJsg9 HTTP/1.1"
        status, _, body = raw(api, request_of(iron, line, host="worker-aws-us-east-1.iron.io"))
        assert (status, json.loads(body)) == (200, {"codes": []})
        line = "GET /2/projects/JpoAig/codes HTTP/1.1"
        status, _, _ = raw(api, request_of(iron, line, host="worker-aws-us-east-1.iron.io"))
        assert status == 421, "a page whose name points here must not get through"


def test_get_with_a_body_is_answered_and_the_connection_stays_good(iron: Iron) -> None:
    for body in (b"{}", b'{"oauth": "x"}', b"not json"):
        answer = iron.tell("GET", "codes", content=body, headers={"Content-Type": "application/json"})
        if body == b"not json":
            refused(answer, 400)
        else:
            assert len(said(answer)["codes"]) == 1
    with_body = request_of(
        iron, "GET {p}/codes? HTTP/1.1", "Content-Type: application/json", "Content-Length: 2", body=b"{}"
    )
    status, _, body = raw(iron.api, with_body + request_of(iron, "GET {p}/tasks HTTP/1.1"))
    assert (status, b"codes" in body) == (200, True)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (("Content-Length: 0",), b""),
        (("Content-Length: 0", "Content-Type: application/json"), b""),
        (("Content-Length: 2", "Content-Type: application/json"), b"{}"),
        (("Content-Length: 2",), b"{}"),
        (("Content-Length: 4", "Content-Type: application/json; charset=utf-8"), b"null"),
        (("Transfer-Encoding: chunked",), b"0\r\n\r\n"),
        (("Transfer-Encoding: chunked", "Content-Type: application/json"), b"2\r\n{}\r\n0\r\n\r\n"),
        (("Content-Length: 2", "Content-Type: application/json", "Accept-Encoding: gzip/deflate"), b"{}"),
    ],
)
def test_cancel_is_understood_however_nothing_is_sent(
    iron: Iron, headers: tuple[str, ...], body: bytes
) -> None:
    own_id = iron.queue()
    line = f"POST {{p}}/tasks/{own_id}/cancel HTTP/1.1"
    status, head, answer = raw(iron.api, request_of(iron, line, *headers, body=body))
    assert (status, json.loads(answer)) == (200, {"msg": "Cancelled"})
    assert b"content-encoding" not in head.lower()
    assert iron.get(f"tasks/{own_id}")["status"] == "cancelled"


def test_tasks_come_in_chunks(iron: Iron) -> None:
    text = json.dumps({"tasks": [{"code_name": "Hello", "payload": "ü"}]}).encode()
    body = b"".join(b"%x\r\n%s\r\n" % (1, text[at : at + 1]) for at in range(len(text))) + b"0\r\n\r\n"
    headers = ("Transfer-Encoding: chunked", "Content-Type: application/json")
    status, _, _ = raw(iron.api, request_of(iron, "POST {p}/tasks HTTP/1.1", *headers, body=body))
    assert status == 200


def test_end_of_the_connection_is_said_when_the_client_asks_for_it(iron: Iron) -> None:
    line = "GET {p}/codes HTTP/1.1"
    _, head, _ = raw(iron.api, request_of(iron, line, "Connection: close"))
    assert b"connection: close" in head.lower()
    _, head, _ = raw(iron.api, request_of(iron, line))
    assert b"connection: close" not in head.lower()
    _, head, _ = raw(iron.api, request_of(iron, "GET {p}/codes HTTP/1.0"))
    assert b"connection: close" in head.lower()


def test_body_that_is_not_said_to_be_json_is_refused_where_it_counts(iron: Iron) -> None:
    text = json.dumps({"tasks": [{"code_name": "Hello"}]})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind} if kind else {}
        reason = refused(iron.tell("POST", "tasks", content=text, headers=headers), 406)
        assert "application/json" in reason
    refused(iron.tell("POST", "codes", json={"name": "x"}), 406)
    for kind in ("application/json;charset=UTF-8", "Application/JSON"):
        said(iron.tell("POST", "tasks", content=text, headers={"Content-Type": kind}))

"""Requests to the API that are well formed and make no sense: what is refused changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from reworker.core.principal import Scope
from tests.support.api import PLAYBOOK, Api, count, playbook, refused, serving

APPROVED = """\
group: web
name: careful
execution:
- hosts: [HOST]
  steps:
  - approval: {text: "sure?", not_self: true}
  - noop:Do
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("bad")) as made:
        yield made


@pytest.fixture(scope="module")
def admin(api: Api) -> httpx.Client:
    return api.client(name="admin")


def test_one_idempotency_key_50_times_at_once_starts_one_deployment(api: Api) -> None:
    before, client = count(api), api.client(Scope.RUN, name="keen", limits=None)

    def start(_: int) -> httpx.Response:
        return client.post("/deployments", json={"text": PLAYBOOK}, headers={"Idempotency-Key": "once"})

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(start, range(50)))
    assert {one.status_code for one in answers} == {201}
    assert len({one.json()["id"] for one in answers}) == 1
    assert count(api) == before + 1
    other = client.post(
        "/deployments", json={"text": PLAYBOOK, "reason": "b"}, headers={"Idempotency-Key": "once"}
    )
    refused(other, 409, "idempotency-key-reused")
    assert other.json()["deployment"] == answers[0].json()["id"]


def test_idempotency_keys_of_two_people_are_two_keys(api: Api) -> None:
    ids = set()
    for name in ("ann", "bob"):
        client = api.client(name=name)
        answer = client.post("/deployments", json={"text": PLAYBOOK}, headers={"Idempotency-Key": "same"})
        ids.add(answer.json()["id"])
    assert len(ids) == 2


def test_idempotency_key_that_is_too_long_is_refused(admin: httpx.Client) -> None:
    answer = admin.post("/deployments", json={"text": PLAYBOOK}, headers={"Idempotency-Key": "k" * 256})
    assert "255" in refused(answer, 422, "invalid-value")


@pytest.mark.parametrize("path", ["/deployments", "/playbooks", "/tokens", "/audit"])
@pytest.mark.parametrize("limit", ["-1", "0", "1001", "1000000000", "1.5", "x", "", "9" * 400])
def test_page_of_a_size_that_makes_no_sense_is_refused(admin: httpx.Client, path: str, limit: str) -> None:
    answer = admin.get(path, params={"limit": limit})
    refused(answer, 422, "invalid-query")
    assert answer.json()["path"] == "limit"


def test_cursor_counts_for_its_list_and_filters_alone(admin: httpx.Client, api: Api) -> None:
    for _ in range(3):
        api.start()
    cursor = admin.get("/deployments?limit=1").json()["next"]
    assert admin.get("/deployments", params={"limit": 2, "cursor": cursor}).status_code == 200
    for path, query in (
        ("/deployments", {"status": "failed"}),
        ("/playbooks", {}),
        ("/tokens", {}),
        ("/audit", {}),
    ):
        answer = admin.get(path, params={"cursor": cursor, **query})
        refused(answer, 422, "invalid-cursor")
    for wrong in ("x", "é", "=" * 32, cursor[:-1], cursor + "A", cursor[::-1], "A" * 101):
        answer = admin.get("/deployments", params={"cursor": wrong})
        assert answer.status_code == 422, wrong


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=2",
        "nope=1",
        "status=broken",
        "id=XYZ",
        "id=" + "a" * 25,
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "include=all",
    ],
)
def test_query_that_is_not_known_is_refused(admin: httpx.Client, query: str) -> None:
    refused(admin.get(f"/deployments?{query}"), 422, "invalid-query")


@pytest.mark.parametrize("value", ["%00", "%ff", "%ud800", "<script>", "'--", "%", "_" * 3000])
def test_filter_of_any_text_finds_nothing_and_is_no_fault(admin: httpx.Client, value: str) -> None:
    for name in ("group", "name", "environment", "playbook", "actor"):
        answer = admin.get(f"/deployments?{name}={value}&created_before=2000-01-01T00:00:00Z")
        assert answer.status_code == 200, answer.text
        assert answer.json()["items"] == []


TYPED = playbook(
    params={"color": {"type": "string", "enum": ["red"]}, "size": {"type": "integer", "default": 1}}
)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "'color' is missing"),
        ({"color": "red", "colour": "red"}, "'colour' is unknown, did you mean 'color'?"),
        ({"color": 3}, "'color' does not fit"),
        ({"color": "red", "size": "big"}, "'size' does not fit"),
        ({"color": None}, "'color' does not fit"),
        ({"color": ["red"]}, "'color' does not fit"),
        ({"color": "<script>alert(1)</script>"}, "'color' does not fit"),
    ],
)
def test_values_that_do_not_fit_start_nothing(
    admin: httpx.Client, api: Api, values: dict[str, object], words: str
) -> None:
    before = count(api)
    answer = admin.post("/deployments", json={"text": TYPED, "values": values})
    assert words in refused(answer, 422, "playbook-invalid")
    assert count(api) == before


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**70), 1e308, 0.1, -0.0])
def test_number_of_any_size_is_kept_or_refused(admin: httpx.Client, number: float) -> None:
    text = "group: web\nname: n\nexecution:\n- hosts: [a]\n  steps:\n  - noop:Do: {dynamic: [n]}\n"
    answer = admin.post("/deployments", json={"text": text, "values": {"n": number}})
    if answer.status_code == 422:
        return
    assert answer.status_code == 201, answer.text
    plan = admin.get(f"/deployments/{answer.json()['id']}/plan").json()
    assert plan["dynamic"] == {"n": number}


@pytest.mark.parametrize("text", ["", " ", "\0", "a: [", "- x", "group: web", "&a [*a]", "x" * 3_000_000])
def test_playbook_that_is_none_is_refused_with_its_place(admin: httpx.Client, api: Api, text: str) -> None:
    before = count(api)
    answer = admin.post("/deployments", json={"text": text})
    refused(answer, 422, "playbook-invalid" if text else "invalid-body")
    answer = admin.post("/playbooks", json={"text": text})
    refused(answer, 422, "playbook-invalid")
    assert {"line", "path", "reason"} <= answer.json().keys()
    found = admin.post("/playbooks/validate", json={"text": text}).json()
    assert not found["is_valid"]
    assert found["problems"]
    assert count(api) == before


def waiting(api: Api, actor: str, host: str) -> str:
    """Start what waits for an approval that its starter cannot give."""
    return api.start(APPROVED.replace("HOST", host), actor=actor)


def test_approval_counts_once_and_not_by_who_asked(api: Api) -> None:
    own_id = waiting(api, "ann", "approve1")
    ann, bob = api.client(name="ann"), api.client(name="bob")
    assert "ann" in refused(ann.post(f"/deployments/{own_id}/approve", json={}), 409, "nothing-changed")
    answer = bob.post(f"/deployments/{own_id}/approve", json={"reason": "looked at it"})
    assert answer.json()["changed"] is True
    refused(bob.post(f"/deployments/{own_id}/approve", json={}), 409, "nothing-changed")
    refused(bob.post(f"/deployments/{own_id}/approve", json={"attempt": 1}), 409, "nothing-changed")
    refused(bob.post(f"/deployments/{own_id}/approve", json={"attempt": 999}), 409, "nothing-changed")
    assert bob.post(f"/deployments/{own_id}/approve", json={"attempt": 10**9}).status_code == 422


def test_approval_after_a_cancel_changes_nothing(api: Api, admin: httpx.Client) -> None:
    own_id = waiting(api, "ann", "approve2")
    assert admin.post(f"/deployments/{own_id}/cancel", json={"reason": "no"}).status_code == 200
    refused(admin.post(f"/deployments/{own_id}/approve", json={}), 409, "nothing-changed")
    refused(admin.post(f"/deployments/{own_id}/refuse", json={}), 409, "nothing-changed")


def test_resume_of_one_that_runs_changes_nothing(api: Api, admin: httpx.Client) -> None:
    own_id = api.start()
    words = refused(admin.post(f"/deployments/{own_id}/resume", json={}), 409, "nothing-changed")
    assert own_id in words
    refused(admin.post(f"/deployments/{own_id}/retry", json={}), 409, "not-resumable")


def test_decision_without_a_doubt_or_a_reason_is_refused(api: Api, admin: httpx.Client) -> None:
    own_id = api.start()
    path = f"/deployments/{own_id}/decide"
    refused(admin.post(path, json={"decision": "retry", "reason": "r"}), 409, "nothing-changed")
    refused(admin.post(path, json={"decision": "retry", "reason": ""}), 422, "invalid-body")
    refused(admin.post(path, json={"decision": "maybe", "reason": "r"}), 422, "invalid-body")


def test_many_who_cancel_at_once_have_one_effect(api: Api, admin: httpx.Client) -> None:
    own_id = api.start()
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: admin.post(f"/deployments/{own_id}/cancel", json={}).status_code, range(20))
        )
    assert sorted(answers) == [200, *[409] * 19]
    assert api.service.deployment(own_id).state.status.name.startswith("CANCEL")


def test_two_starts_on_one_environment_take_turns(admin: httpx.Client) -> None:
    text = playbook(environment="live", hosts="[live1]")
    ids = [admin.post("/deployments", json={"text": text}).json()["id"] for _ in range(2)]
    first, second = (admin.get(f"/deployments/{own_id}").json() for own_id in ids)
    assert first["status"] == "running"
    assert second["status"] == "queued"
    assert ids[0] in second["reason"]


def test_line_ends_in_headers_add_no_header(api: Api, admin: httpx.Client) -> None:
    raw = (
        f"POST /api/v1/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token()}\r\n"
        "Content-Type: application/json\r\nIdempotency-Key: a\rX-Evil: 1\r\nContent-Length: 2\r\n\r\n{}"
    )
    host, port = urlsplit(api.url).hostname, urlsplit(api.url).port
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(raw.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
    answer = admin.put("/views/a%0d%0aX-Evil:%201", json={"query": "a"})
    assert answer.status_code in (404, 422)
    assert "x-evil" not in answer.headers


def test_post_of_another_site_with_our_cookie_is_refused(api: Api) -> None:
    before = count(api)
    cookie = {"reworker": api.access.open_session(api.token())}
    client = api.anybody(cookies=cookie)
    body = {"text": PLAYBOOK}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
        {},
    ):
        refused(client.post("/deployments", json=body, headers=headers), 403, "cross-site")
    assert count(api) == before
    assert (
        client.post("/deployments", json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201
    )


def test_bulk_tells_of_each_and_takes_100_at_most(api: Api, admin: httpx.Client) -> None:
    ids = [api.start(playbook(hosts="[bulk1]")), "0" * 24, "x"]
    found = admin.post("/deployments/actions/cancel", json={"ids": ids, "reason": "r"}).json()
    assert [(one["status"], one["problem"]) for one in found["items"]] == [
        (200, ""),
        (404, "deployment-not-found"),
        (404, "deployment-not-found"),
    ]
    assert found["changed"] == 1
    again = admin.post("/deployments/actions/retry", json={"ids": ids[:1]}).json()["items"][0]
    assert (again["changed"], again["problem"]) == (False, "not-resumable")
    for many in ([], ["a"] * 101):
        refused(admin.post("/deployments/actions/cancel", json={"ids": many}), 422, "invalid-body")


def test_markup_in_stored_text_comes_back_as_data_that_no_browser_runs(admin: httpx.Client) -> None:
    text = playbook(name="<script>alert(1)</script>")
    own_id = admin.post("/deployments", json={"text": text}).json()["id"]
    answer = admin.get(f"/deployments/{own_id}")
    assert answer.json()["name"] == "<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]

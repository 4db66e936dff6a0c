"""What nobody should send to the API, and what is answered: no fault of the server, and nothing done."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from reworker.core.principal import Limits, Scope
from reworker.web import api_v1
from reworker.web.bodies import BODY_BYTES
from tests.support.api import PLAYBOOK, Api, playbook, serving

JSON = {"Content-Type": "application/json"}
#: what is no GET and yet changes nothing but the view of who asks.
HARMLESS = (
    "/playbooks/validate",
    "/playbooks/plan",
    "/playbooks/{playbook_id}/plan",
    "/views/{name}",
    "/workers/{name}/ping",
)
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


def refused(answer: httpx.Response, status: int, name: str) -> str:
    """Check a problem document; return what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:reworker:problem:{name}"
    assert problem["status"] == status
    return str(problem["detail"])


def count(api: Api) -> int:
    return sum(api.service.reader.counts_by_status().values())


def test_body_over_the_limit_is_refused_by_its_length(admin: httpx.Client, api: Api) -> None:
    before = count(api)
    body = json.dumps({"text": "x" * (BODY_BYTES + 1)})
    assert "4194304 bytes" in refused(
        admin.post("/deployments", content=body, headers=JSON), 413, "body-too-large"
    )
    assert count(api) == before


def test_chunks_without_end_are_refused_when_they_are_too_many(admin: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(200):
            yield b"x" * 65536

    try:
        refused(admin.post("/deployments", content=chunks(), headers=JSON), 413, "body-too-large")
    except httpx.WriteError:  # it has closed on us before we have sent all of it
        assert admin.get("/me").status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"text": "a", "text": "b"}', "twice"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"values": {"a": NaN}}', "NaN"),
        (b'{"values": {"a": 1e999}}', "too large"),
        (b'{"values": {"a": -Infinity}}', "Infinity"),
        (b'{"values": {"a": ' + b"9" * 5000 + b"}}", "JSON"),
        (b'{"text": "\xff"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "JSON"),
        (b"{", "JSON"),
        (b"", "JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"values": ' + b'{"a": ' * 100 + b"1" + b"}" * 101, "nested"),
    ],
)
def test_text_that_readers_could_read_in_two_ways_is_refused(
    admin: httpx.Client, body: bytes, words: str
) -> None:
    assert words in refused(admin.post("/deployments", content=body, headers=JSON), 400, "not-json")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_body_of_another_type_is_refused(admin: httpx.Client, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    refused(admin.post("/deployments", content=b"{}", headers=headers), 415, "wrong-content-type")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], ""),
        ("x", ""),
        ({"text": 3}, "text"),
        ({"txt": "a"}, ""),
        ({"text": PLAYBOOK, "values": []}, "values"),
        ({"text": PLAYBOOK, "unattended": "yes"}, "unattended"),
        ({"text": PLAYBOOK, "reason": "x" * 1001}, "reason"),
        ({"playbook_id": "a", "version": -1}, "version"),
        ({"playbook_id": "a", "version": 2**31}, "version"),
        ({"text": PLAYBOOK, "playbook_id": "a"}, "text"),
        ({}, "text"),
    ],
)
def test_body_of_the_wrong_form_is_refused_with_the_place(
    admin: httpx.Client, api: Api, body: object, path: str
) -> None:
    before = count(api)
    answer = admin.post("/deployments", json=body)
    refused(answer, 422, "invalid-body")
    assert answer.json()["path"] == path
    assert count(api) == before


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "BREW"])
def test_method_that_is_not_there_is_refused_and_the_others_are_named(
    admin: httpx.Client, method: str
) -> None:
    answer = admin.request(method, "/deployments")
    refused(answer, 405, "method-not-allowed")
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/..%2fapi/v1/me",
        "/api/v1//me",
        "/api/v1/me;a=b",
        "/api/v1/me.",
        "/api/v1/me/",
        "/api/v1/ME",
        "/API/v1/me",
        "/api/v1/m%C3%A9",
        "/api/v1/%00me",
        "/api/v1/me%0d%0aX-A:b",
        "/api/v1/" + "a" * 8000,
        "/api/v1/deployments/%2e%2e",
    ],
)
def test_path_that_is_almost_one_of_ours_leads_nowhere(api: Api, path: str) -> None:
    assert raw_status(api, "GET", path, {"Authorization": f"Bearer {api.token()}"}) in (400, 404)


def raw_status(api: Api, method: str, path: str, headers: dict[str, str]) -> int:
    """Send a path as it stands; return the status of the answer."""
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=10)
    connection.putrequest(method, path, skip_host=False)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_id_of_any_form_is_not_found_and_never_a_fault(admin: httpx.Client) -> None:
    for own_id in ("x", "0" * 24, "A" * 24, "%00", "%F0%9F%98%80", "' or 1=1", "a" * 2000):
        for below in ("", "/plan", "/events", "/attempts", "/log", "/messages", "/verify", "/stream"):
            refused(admin.get(f"/deployments/{own_id}{below}"), 404, "deployment-not-found")
        for action in ("cancel", "pause", "resume", "approve", "refuse", "retry"):
            refused(admin.post(f"/deployments/{own_id}/{action}", json={}), 404, "deployment-not-found")
        refused(admin.get(f"/playbooks/{own_id}"), 404, "playbook-not-found")
        refused(admin.delete(f"/playbooks/{own_id}"), 404, "playbook-not-found")
        refused(admin.delete(f"/tokens/{own_id}"), 404, "token-not-found")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        f"Bearer rw_{'0' * 24}_{'0' * 64}",
        "Basic eDp5",
        "Bearer é",
        "x" * 9000,
    ],
)
def test_token_that_is_none_is_refused_without_saying_why(api: Api, header: str) -> None:
    answer = api.anybody(headers={b"Authorization": header.encode()} if header else {}).get("/me")
    refused(answer, 401, "not-authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_token_that_expired_or_was_revoked_counts_no_more(api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    view, text = api.access.create_token("brief", [Scope.READ], expires_at=soon)
    client = api.anybody(headers={"Authorization": f"Bearer {text}"})
    threading.Event().wait((soon - datetime.now(UTC)).total_seconds() + 0.05)
    words = refused(client.get("/me"), 401, "not-authenticated")
    view, text = api.access.create_token("gone", [Scope.READ])
    client = api.anybody(headers={"Authorization": f"Bearer {text}"})
    assert client.get("/me").status_code == 200
    api.access.revoke(view.id)
    assert refused(client.get("/me"), 401, "not-authenticated") == words


def test_token_in_odd_places_does_not_count(api: Api) -> None:
    text, client = api.token(), api.anybody()
    for options in (
        {"params": {"token": text}},
        {"params": {"access_token": text}},
        {"headers": {"X-Authorization": text}},
        {"headers": {"Authorization": text}},
        {"headers": {"Authorization": f"OAuth {text}"}},
        {"headers": {"Cookie": f"reworker={text}"}},
        {"headers": {"Cookie": f"token={text}"}},
    ):
        refused(client.get("/me", **options), 401, "not-authenticated")


def test_token_of_another_group_sees_and_does_nothing(api: Api, admin: httpx.Client) -> None:
    own_id = api.start(playbook(group="secret"))
    stored = admin.post("/playbooks", json={"text": playbook(group="secret")}).json()["id"]
    other = api.client(*Scope.__members__.values(), limits=Limits(groups=("web",)), name="other")
    before = count(api)
    refused(other.get(f"/deployments/{own_id}"), 403, "forbidden")
    assert own_id not in other.get("/deployments?limit=1000").text
    for action in ("cancel", "pause", "resume", "approve", "refuse", "retry"):
        refused(other.post(f"/deployments/{own_id}/{action}", json={}), 403, "forbidden")
    refused(other.post("/deployments", json={"text": playbook(group="secret")}), 403, "forbidden")
    refused(other.get(f"/playbooks/{stored}"), 403, "forbidden")
    refused(other.post(f"/playbooks/{stored}/deployments", json={}), 403, "forbidden")
    results = other.post("/deployments/actions/cancel", json={"ids": [own_id]}).json()
    assert [one["problem"] for one in results["items"]] == ["forbidden"]
    assert count(api) == before


def test_token_that_may_only_read_changes_nothing_by_any_operation(api: Api) -> None:
    own_id, reader = api.start(), api.client(Scope.READ, name="reader")
    before, deeds = count(api), 0
    for one in api_v1.OPERATIONS:
        if one.method == "GET" or one.path in HARMLESS:
            continue
        path = one.path.replace("{deployment_id}", own_id).replace("{playbook_id}", "0" * 24)
        refused(reader.request(one.method, path.replace("{", "").replace("}", ""), json={}), 403, "forbidden")
        deeds += 1
    assert deeds > 15
    assert count(api) == before
    denied = api.access.audit(limit=1000, actor="reader", outcome="denied")
    assert len(denied) == deeds


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
    with socket.create_connection((host, port), timeout=10) as connection:
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

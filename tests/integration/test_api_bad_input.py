"""What nobody should send to the API, and what is answered: no fault of the server, and nothing done."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import httpx
import pytest

from reworker.core.principal import Limits, Scope
from reworker.web import api_v1
from reworker.web.bodies import BODY_BYTES
from tests.support.api import PLAYBOOK, Api, count, playbook, refused, serving

JSON = {"Content-Type": "application/json"}
#: what is no GET and yet changes nothing but the view of who asks.
HARMLESS = (
    "/playbooks/validate",
    "/playbooks/plan",
    "/playbooks/{playbook_id}/plan",
    "/views/{name}",
    "/workers/{name}/ping",
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api"), shared_database_url) as made:
        yield made


@pytest.fixture(scope="module")
def admin(api: Api) -> httpx.Client:
    return api.client(name="admin")


def test_body_over_the_limit_is_refused_by_its_length(admin: httpx.Client, api: Api) -> None:
    before = count(api)
    body = json.dumps({"text": "x" * (BODY_BYTES + 1)})
    assert "4194304 bytes" in refused(
        admin.post("/deployments", content=body, headers=JSON), 413, "body-too-large"
    )
    assert count(api) == before


def test_key_that_is_there_twice_is_found_at_once_among_very_many(admin: httpx.Client) -> None:
    keys = [*(f'"{number:x}":0' for number in range(200_000)), '"30d3f":0']
    body = "{" + ",".join(keys) + "}"
    assert "30d3f" in refused(admin.post("/playbooks/validate", content=body, headers=JSON), 400, "not-json")


def test_chunks_without_end_are_refused_when_they_are_too_many(admin: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(200):
            yield b"x" * 65536

    try:
        refused(admin.post("/deployments", content=chunks(), headers=JSON), 413, "body-too-large")
    except (httpx.WriteError, httpx.ReadError):  # it has closed on us before we have sent all of it
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
    connection = http.client.HTTPConnection(urlsplit(api.url).netloc, timeout=30)
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

"""The REST API of 2014 as its client speaks it: words, codes and forms; without its holes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
import yaml

from reworker.core.principal import Scope
from tests.support.up import Up
from tests.support.waiting import wait_until

PLAYBOOK = {
    "group": "web",
    "name": "restart",
    "execution": [
        {"description": "all", "hosts": ["a"], "steps": [{"noop:Run": {"dynamic": ["color"]}}]},
    ],
}
UNKNOWN = "f" * 24


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up"), "--trust-proxy", "127.0.0.1", "--remote-user-header", "X-User")
    made.token(Scope.ADMIN, name="ann")
    made.token(Scope.READ, name="bob")
    made.token(Scope.ADMIN, name="carl", groups=["db"])
    yield made
    made.close()


@pytest.fixture
def client(up: Up) -> Iterator[httpx.Client]:
    """The old client behind the front server, which has let ann in."""
    with httpx.Client(base_url=f"{up.url}/api/v0", headers={"X-User": "ann"}, timeout=30) as made:
        yield made


def as_user(client: httpx.Client, name: str) -> dict[str, str]:
    return {"X-User": name}


@pytest.fixture
def own_id(client: httpx.Client) -> str:
    answer = client.put("/web/playbook/", json=PLAYBOOK)
    assert (answer.status_code, answer.json()["status"]) == (201, "created")
    return str(answer.json()["id"])


def test_playbook_is_kept_shown_changed_and_removed(client: httpx.Client, own_id: str) -> None:
    item = client.get(f"/web/playbook/{own_id}/").json()
    assert item == {"status": "ok", "item": PLAYBOOK}
    changed = {**PLAYBOOK, "name": "renamed"}
    answer = client.post(f"/web/playbook/{own_id}/", json=changed)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "id": own_id})
    items = client.get("/web/playbook/").json()["items"]
    assert {**changed, "id": own_id} in items
    assert {**changed, "id": own_id} == client.get("/playbooks/").json()["items"][0], "the newest first"
    answer = client.delete(f"/web/playbook/{own_id}/")
    assert (answer.status_code, answer.json()) == (410, {"status": "gone"})
    answer = client.get(f"/web/playbook/{own_id}/")
    assert (answer.status_code, answer.json()) == (404, {"status": "not found"})


def test_groups_are_counted(client: httpx.Client, own_id: str) -> None:
    answer = client.get("/groups/")
    assert answer.status_code == 200
    (group,) = answer.json()["items"]
    assert group["name"] == "web"
    assert group["count"] == len(client.get("/web/playbook/").json()["items"])


def test_deployment_runs_and_tells_its_status(client: httpx.Client, own_id: str) -> None:
    answer = client.put(f"/web/playbook/{own_id}/deployment/", json={"color": "red"})
    assert (answer.status_code, answer.json()["status"]) == (201, "created")
    deployment = answer.json()["id"]

    def ended() -> httpx.Response | None:
        found = client.get(f"/deployment/status/{deployment}/")
        assert found.status_code in (200, 202), found.text
        return None if found.status_code == 202 else found

    found = wait_until(ended, 60).json()
    assert (found["status"], found["deployment"]) == ("completed", deployment)
    assert parsedate_to_datetime(found["created"]) <= parsedate_to_datetime(found["ended"])
    assert isinstance(found["duration"], int)


def test_status_is_in_progress_while_a_step_works_and_failed_after_a_cancel(
    up: Up, client: httpx.Client
) -> None:
    slow = {
        **PLAYBOOK,
        "execution": [{"description": "x", "hosts": ["a"], "steps": [{"sleep:Seconds": {"seconds": 60}}]}],
    }
    own_id = client.put("/web/playbook/", json=slow).json()["id"]
    deployment = client.put(f"/web/playbook/{own_id}/deployment/").json()["id"]

    def begun() -> bool:
        found = client.get(f"/deployment/status/{deployment}/")
        assert (found.status_code, found.json()["status"]) == (202, "in progress")
        return bool(found.json()["active_step"] == "sleep:Seconds")

    wait_until(begun, 60)
    token = up.token(Scope.ADMIN)
    cancel = f"{up.url}/api/v1/deployments/{deployment}/cancel"
    httpx.post(cancel, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=30).raise_for_status()

    def failed() -> bool:
        return client.get(f"/deployment/status/{deployment}/").status_code == 400

    wait_until(failed, 60)
    assert client.get(f"/deployment/status/{deployment}/").json()["status"] == "failed"


def test_answers_come_as_yaml_when_asked(client: httpx.Client, own_id: str) -> None:
    answer = client.get(f"/web/playbook/{own_id}/", params={"format": "yaml"})
    assert answer.headers["content-type"].startswith("text/yaml")
    assert yaml.safe_load(answer.text)["item"] == PLAYBOOK
    body = yaml.safe_dump(PLAYBOOK)
    answer = client.put("/web/playbook/", content=body, params={"format": "yaml"})
    assert (answer.status_code, yaml.safe_load(answer.text)["status"]) == (201, "created")
    assert client.get("/groups/", params={"format": "xml"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/web/playbook/{}/"),
        ("POST", "/web/playbook/{}/"),
        ("DELETE", "/web/playbook/{}/"),
        ("PUT", "/web/playbook/{}/deployment/"),
    ],
)
@pytest.mark.parametrize("wrong", [UNKNOWN, "nonsense"])
def test_playbook_is_not_found_when_its_id_is_wrong(
    client: httpx.Client, method: str, path: str, wrong: str
) -> None:
    answer = client.request(method, path.format(wrong), json=PLAYBOOK if method == "POST" else None)
    assert answer.status_code == 404


def test_playbook_of_another_group_is_not_touched(client: httpx.Client, own_id: str) -> None:
    """In 2014 who was a member of one group could change and start the playbooks of all."""
    assert client.get(f"/db/playbook/{own_id}/").status_code == 404
    assert client.post(f"/db/playbook/{own_id}/", json={**PLAYBOOK, "group": "db"}).status_code == 404
    assert client.delete(f"/db/playbook/{own_id}/").status_code == 404
    answer = client.put(f"/db/playbook/{own_id}/deployment/")
    assert (answer.status_code, answer.json()["message"]) == (404, "group not found")
    assert client.put("/db/playbook/", json=PLAYBOOK).status_code == 400
    assert client.get(f"/web/playbook/{own_id}/").status_code == 200


@pytest.mark.parametrize("body", ["", "{", "[]", '{"group": "web"}', '{"group": "web", "group": "db"}'])
def test_playbook_is_refused_when_it_is_wrong(client: httpx.Client, body: str) -> None:
    answer = client.put("/web/playbook/", content=body)
    assert (answer.status_code, answer.json()["status"]) == (400, "bad request")
    assert answer.json()["message"]


def test_values_are_refused_when_they_cannot_be_read(client: httpx.Client, own_id: str) -> None:
    """In 2014 they were dropped, and the release went on without them."""
    for body in ("{", "[1]", '"red"'):
        answer = client.put(f"/web/playbook/{own_id}/deployment/", content=body)
        assert (answer.status_code, answer.json()["status"]) == (400, "bad request")
    missing = client.put(f"/web/playbook/{own_id}/deployment/")
    assert missing.status_code == 400
    assert "color" in missing.json()["message"]


def test_status_is_not_found_when_the_id_is_wrong(client: httpx.Client) -> None:
    for wrong in (UNKNOWN, "nonsense"):
        answer = client.get(f"/deployment/status/{wrong}/")
        assert (answer.status_code, answer.json()) == (404, {"status": "not found", "deployment": wrong})


def test_slash_at_the_end_is_required(client: httpx.Client) -> None:
    assert client.get("/groups").status_code == 404


def test_nobody_gets_in_without_a_name_or_a_token(up: Up) -> None:
    for headers in ({}, {"X-User": ""}, {"X-User": "nobody"}):
        answer = httpx.get(f"{up.url}/api/v0/groups/", headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"status": "error", "message": "unauthorized"})


def test_user_may_do_what_the_token_of_that_name_may(client: httpx.Client, own_id: str) -> None:
    assert client.get(f"/web/playbook/{own_id}/", headers=as_user(client, "bob")).status_code == 200
    answer = client.put(
        f"/web/playbook/{own_id}/deployment/", json={"color": "x"}, headers=as_user(client, "bob")
    )
    assert (answer.status_code, answer.json()["message"]) == (403, "forbidden")
    assert client.delete(f"/web/playbook/{own_id}/", headers=as_user(client, "bob")).status_code == 403
    assert client.get(f"/web/playbook/{own_id}/", headers=as_user(client, "carl")).status_code == 403
    assert client.get("/groups/", headers=as_user(client, "carl")).json()["items"] == []


def test_password_of_basic_authentication_is_the_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    up = Up(tmp_path_factory.mktemp("plain"))
    try:
        address = f"{up.url}/api/v0/groups/"
        token = up.token(Scope.READ)
        assert httpx.get(address, auth=("anybody", token)).status_code == 200
        assert httpx.get(address, auth=("anybody", "wrong")).status_code == 401
        assert httpx.get(address, headers={"X-User": "ann"}).status_code == 401, "nobody trusts this header"
        assert httpx.get(address, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    finally:
        up.close()


def test_body_is_json_when_nothing_else_is_asked(client: httpx.Client) -> None:
    answer = client.get("/groups/")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["status"] == "ok"

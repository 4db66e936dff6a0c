"""What the API is for: a client stores, starts, looks and steers, and gets what is true."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import msgspec
import pytest

from reworker.core import codec
from reworker.core.principal import Scope
from reworker.fsm.deployment import Deployment
from reworker.fsm.plan_json import plan_from_json
from reworker.storage.contract import LogRow
from tests.support.api import PLAYBOOK, Api, playbook, refused, serving

SECRETS = """\
group: web
name: secrets
execution:
- hosts: [vault]
  steps:
  - noop:Do: {password: hunter2, url: "http://me:hunter2@host/", user: me}
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, shared_database_url: str) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("api"), shared_database_url) as made:
        yield made


@pytest.fixture(scope="module")
def admin(api: Api) -> httpx.Client:
    return api.client(name="admin")


def test_deployment_is_what_the_database_has(api: Api, admin: httpx.Client) -> None:
    answer = admin.post("/deployments", json={"text": PLAYBOOK, "reason": "release 7"})
    own_id = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/deployments/{own_id}"
    view = api.service.deployment(own_id)
    assert (view.row.actor, view.row.step_count) == ("admin", 2)
    found = admin.get(f"/deployments/{own_id}", params={"include": "state"}).json()
    assert msgspec.convert(found["state"], Deployment) == view.state
    assert admin.get(f"/deployments/{own_id}").json()["state"] is None
    plan = admin.get(f"/deployments/{own_id}/plan").json()
    assert plan_from_json(plan) == api.service.plan(own_id)
    events = admin.get(f"/deployments/{own_id}/events").json()
    assert [one["event"] for one in events["items"]] == ["Submitted", "LocksGranted"]
    assert events["items"][0]["data"]["reason"] == "release 7"
    assert admin.get(f"/deployments/{own_id}/events?after_seq=2").json() == {"items": [], "next": 2}
    assert admin.get(f"/deployments/{own_id}/verify").json()["is_whole"] is True


def test_domains_are_given_for_one_deployment(api: Api, admin: httpx.Client) -> None:
    text, domains = playbook(locks=False), {"noop": ["blue", "NO_DOMAIN"], "*": "green, red"}
    answer = admin.post("/deployments", json={"text": text, "domains": domains})
    own_id = answer.json()["id"]
    plan = api.service.plan(own_id)
    assert plan.domains == {"noop": ("blue", "NO_DOMAIN"), "*": ("green", "red")}
    assert plan.step(0).domains == ("blue", "NO_DOMAIN")
    assert admin.get(f"/deployments/{own_id}/plan").json()["domains"]["noop"] == ["blue", "NO_DOMAIN"]
    (attempt,) = admin.get(f"/deployments/{own_id}/attempts").json()["items"]
    assert attempt["domain"] == ""
    again = admin.post(f"/deployments/{own_id}/again", json={}).json()["id"]
    assert api.service.plan(again).domains == plan.domains
    stored = api.service.library.store(text).id
    started = admin.post(f"/playbooks/{stored}/deployments", json={"domains": {"*": "blue"}}).json()["id"]
    assert api.service.attempts(started)[0].row.domain == "blue"


@pytest.mark.parametrize(
    ("domains", "name", "reason"),
    [
        ({"noop": "a b"}, "invalid-value", "'a b' is no domain"),
        ({"noop": []}, "invalid-value", "give at least one domain"),
        ({"noop": 7}, "invalid-body", "domains"),
        ({"nop": "blue"}, "playbook-invalid", "did you mean 'noop'?"),
    ],
)
def test_domains_that_are_none_start_nothing(
    admin: httpx.Client, domains: dict[str, object], name: str, reason: str
) -> None:
    answer = admin.post("/deployments", json={"text": PLAYBOOK, "domains": domains})
    assert reason in refused(answer, 422, name)


def test_list_is_cut_into_pages_and_filtered(api: Api, admin: httpx.Client) -> None:
    ids = [api.start(playbook(group="pages", name=f"n{number}", hosts=f"[p{number}]")) for number in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = admin.get("/deployments", params={"group": "pages", "limit": 2, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert seen == ids[::-1]
    api.service.pause(ids[1])
    for query, wanted in (
        ({"status": ["paused", "failed"]}, [ids[1]]),
        ({"name": "N3"}, [ids[3]]),
        ({"actor": "nobody"}, []),
        ({"id": ids[4][:20]}, [ids[4]]),
        ({"id": ids[4]}, [ids[4]]),
        ({"created_before": "2000-01-01T00:00:00Z"}, []),
        ({"created_after": "2000-01-01T00:00:00+01:00", "name": "n0"}, [ids[0]]),
    ):
        found = admin.get("/deployments", params={"group": "pages", **query}).json()["items"]
        assert [one["id"] for one in found] == wanted, query


def test_secrets_are_masked_in_messages_and_plans(api: Api, admin: httpx.Client) -> None:
    own_id = api.start(SECRETS)
    (message,) = admin.get(f"/deployments/{own_id}/messages").json()["items"]
    assert (message["exchange"], message["routing_key"]) == ("re", "worker.noop")
    assert message["properties"]["correlation_id"] == f"{own_id}.1"
    assert message["properties"]["headers"]["x-attempt"] == 1
    assert message["body"]["parameters"]["user"] == "me"
    assert message["body"]["parameters"]["password"] == "***"
    for path in ("messages", "plan"):
        assert "hunter2" not in admin.get(f"/deployments/{own_id}/{path}").text
    assert b"hunter2" in codec.encode_plan(api.service.plan(own_id))


def test_tail_of_a_long_log_comes_at_once(api: Api, admin: httpx.Client) -> None:
    own_id, at = api.start(playbook(hosts="[long]")), datetime(2026, 1, 1, tzinfo=UTC)
    chunk = msgspec.json.encode([[1, at, "x"]] * 1000)
    api.logs.add([LogRow(own_id, first, 1000, chunk) for first in range(1, 1_000_001, 1000)])
    found = admin.get(f"/deployments/{own_id}/log?tail=3").json()
    assert [one["no"] for one in found["items"]] == [999_998, 999_999, 1_000_000]
    assert found["next"] == 1_000_000
    middle = admin.get(f"/deployments/{own_id}/log?after_no=499999&limit=2").json()["items"]
    assert [one["no"] for one in middle] == [500_000, 500_001]


def test_two_editors_of_a_playbook_do_not_overwrite_each_other(admin: httpx.Client) -> None:
    made = admin.post("/playbooks", json={"text": PLAYBOOK})
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    path = f"/playbooks/{made.json()['id']}"
    first = admin.put(path, json={"text": f"{PLAYBOOK}# a\n"}, headers={"If-Match": '"1"'})
    assert (first.json()["version"], first.headers["etag"]) == (2, '"2"')
    for options in ({"headers": {"If-Match": '"1"'}}, {}):
        base = {} if options else {"base_version": 1}
        late = admin.put(path, json={"text": f"{PLAYBOOK}# b\n", **base}, **options)
        refused(late, 409, "changed-meanwhile")
    refused(admin.put(path, json={"text": PLAYBOOK}, headers={"If-Match": "x"}), 400, "invalid-header")
    refused(admin.delete(path, headers={"If-Match": '"1"'}), 409, "changed-meanwhile")
    versions = admin.get(f"{path}/versions").json()
    assert ([one["version"] for one in versions["items"]], versions["next"]) == ([2, 1], None)
    assert admin.get(f"{path}/versions?limit=1").json()["next"] == 2
    assert admin.get(f"{path}/diff").json()["diff"].splitlines()[-1] == "+# a"
    assert admin.delete(path).status_code == 204
    refused(admin.get(path), 404, "playbook-not-found")
    assert admin.get(f"{path}/versions/1").json()["text"] == PLAYBOOK


def test_playbook_tells_its_params_and_plan_before_it_is_started(admin: httpx.Client) -> None:
    params = {"color": {"type": "string"}, "size": {"type": "integer", "default": 1}}
    own_id = admin.post("/playbooks", json={"text": playbook(params=params, hosts="[r1]")}).json()["id"]
    schema = admin.get(f"/playbooks/{own_id}/params").json()["params"]
    assert (schema["properties"], schema["required"]) == (params, ["color"])
    planned = admin.post(f"/playbooks/{own_id}/plan", json={"values": {"color": "red"}}).json()
    assert (planned["steps"], planned["plan"]["dynamic"]) == (1, {"color": "red", "size": 1})
    newer = {"text": playbook(params=params, hosts="[r1, r2]")}
    assert admin.put(f"/playbooks/{own_id}", json=newer).json()["version"] == 2
    started = admin.post(f"/playbooks/{own_id}/deployments", json={"values": {"color": "red"}, "version": 1})
    assert (started.json()["playbook_id"], started.json()["playbook_version"]) == (own_id, 1)
    found = admin.get("/deployments", params={"playbook": own_id}).json()["items"]
    assert [one["id"] for one in found] == [started.json()["id"]]


def test_token_is_shown_once_and_its_deeds_are_in_the_audit(api: Api, admin: httpx.Client) -> None:
    made = admin.post(
        "/tokens", json={"name": "ci", "scopes": ["read"], "limits": {"groups": ["web"]}}
    ).json()
    text, own_id = made["token"], made["made"]["id"]
    client = api.anybody(headers={"Authorization": f"Bearer {text}"})
    assert client.get("/me").json()["limits"]["groups"] == ["web"]
    refused(client.post("/deployments", json={"text": PLAYBOOK}), 403, "forbidden")
    assert text not in admin.get("/tokens").text
    assert admin.delete(f"/tokens/{own_id}").json() == {"id": own_id, "changed": True}
    refused(client.get("/me"), 401, "not-authenticated")
    deeds = admin.get("/audit", params={"actor": "ci"}).json()["items"]
    assert [one["outcome"] for one in deeds] == ["denied"]
    assert admin.get("/audit", params={"action": "token.create"}).json()["items"][0]["target"] == own_id
    assert client.get("/audit").status_code == 401
    refused(api.client(Scope.READ).get("/audit"), 403, "forbidden")


def test_deployment_is_started_again_with_its_values_once_for_a_key(admin: httpx.Client) -> None:
    text = playbook(params={"color": {"type": "string"}}, hosts="[anew]")
    own_id = admin.post("/deployments", json={"text": text, "values": {"color": "red"}}).json()["id"]
    path, headers = f"/deployments/{own_id}/again", {"Idempotency-Key": "once more"}
    again = admin.post(path, json={"reason": "r"}, headers=headers)
    assert (again.status_code, again.json()["resumes"]) == (201, None)
    assert admin.get(f"/deployments/{again.json()['id']}/plan").json()["dynamic"] == {"color": "red"}
    assert admin.post(path, json={"reason": "r"}, headers=headers).json()["id"] == again.json()["id"]
    refused(admin.post(path, json={"reason": "s"}, headers=headers), 409, "idempotency-key-reused")


def test_saved_views_are_of_who_saves_them(api: Api, admin: httpx.Client) -> None:
    assert admin.put("/views/mine", json={"query": "status=failed"}).json()["query"] == "status=failed"
    assert [one["name"] for one in admin.get("/views").json()["items"]] == ["mine"]
    assert api.client(Scope.READ, name="other").get("/views").json()["items"] == []
    assert admin.delete("/views/mine").status_code == 204
    refused(admin.delete("/views/mine"), 404, "view-not-found")
    refused(admin.put("/views/mine", json={"query": "\u2603"}), 422, "invalid-value")
    deeds = admin.get("/audit", params={"target": "mine"}).json()["items"]
    assert [(one["action"], one["outcome"]) for one in reversed(deeds)] == [
        ("view.keep", "done"),
        ("view.drop", "done"),
        ("view.drop", "failed"),
        ("view.keep", "failed"),
    ]
    assert deeds[-1]["detail"] == "status=failed"


def test_token_that_may_run_may_look_at_what_it_runs(api: Api) -> None:
    client = api.client(Scope.RUN)
    started = client.post("/deployments", json={"text": playbook(hosts="[seen]")})
    assert started.status_code == 201
    assert client.get(f"/deployments/{started.json()['id']}").status_code == 200
    assert client.get("/me").json()["scopes"] == ["run"]
    refused(client.get("/audit"), 403, "forbidden")
    refused(client.get("/queues"), 403, "forbidden")

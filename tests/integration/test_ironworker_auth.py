"""Who asks at ``/2``: tokens in the places where clients put them, what they may do, where they show."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import httpx
import pytest

from reworker.core.principal import Scope
from tests.integration.ironworker_support import Iron, own_project, raw, refused, said, zipped
from tests.support.api import Api, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("auth")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own, with a code."""
    made = Iron(api, project=own_project(api))
    made.upload()
    return made


TASKS = [{"code_name": "Hello"}]


@pytest.mark.parametrize("scheme", ["OAuth", "oauth", "OAUTH", "Bearer", "JWT"])
def test_token_in_the_header_counts(iron: Iron, scheme: str) -> None:
    client = iron.anybody(Authorization=f"{scheme} {iron.token}")
    assert said(client.get(f"projects/{iron.project}"))["name"] == iron.project


def test_token_in_the_query_and_in_the_body_counts(iron: Iron) -> None:
    nobody, place = iron.anybody(), f"projects/{iron.project}"
    assert said(nobody.get(place, params={"oauth": iron.token}))["name"] == iron.project
    assert (
        said(nobody.post(f"{place}/tasks", json={"tasks": TASKS, "oauth": iron.token}))["msg"] == "Queued up"
    )
    code_id = iron.get("codes")["codes"][0]["id"]
    body = json.dumps({"oauth": iron.token})
    headers = {"Content-Type": "application/json"}
    answer = nobody.request("DELETE", f"{place}/codes/{code_id}", content=body, headers=headers)
    assert said(answer) == {"msg": "Deleted"}


def test_token_within_the_data_of_an_upload_counts(iron: Iron) -> None:
    data = {"name": "Legacy", "runtime": "sh", "file_name": "hello.sh", "oauth": iron.token, "options": []}
    form = {"data": (None, json.dumps(data)), "file": ("x.zip", zipped(), "application/zip")}
    assert said(iron.anybody().post(f"projects/{iron.project}/codes", files=form))["id"]
    data["oauth"] = f"{iron.token[:-1]}x"
    form["data"] = (None, json.dumps(data))
    refused(iron.anybody().post(f"projects/{iron.project}/codes", files=form), 401)


def test_header_counts_before_the_other_places(iron: Iron) -> None:
    answer = iron.anybody(Authorization="OAuth rw_wrong").get("projects", params={"oauth": iron.token})
    refused(answer, 401)
    assert said(iron.anybody(Authorization="OAuth").get("projects", params={"oauth": iron.token}))


@pytest.mark.parametrize("token", ["", "x", "rw_", "rwt_", "rw_\x00", "ü", "a" * 9000, "rw_" + "0" * 89])
def test_wrong_token_is_refused_with_the_words_that_clients_know(iron: Iron, token: str) -> None:
    for answer in (
        iron.anybody().get("projects", params={"oauth": token}),
        iron.anybody().post(f"projects/{iron.project}/tasks", json={"tasks": TASKS, "oauth": token}),
        iron.anybody().post(f"projects/{iron.project}/tasks", json={"tasks": TASKS, "oauth": [token]}),
    ):
        assert refused(answer, 401) == "Invalid project/token combination"
        assert token not in answer.text or token in ("", "x", "rw_")


def test_revoked_token_is_refused(iron: Iron, api: Api) -> None:
    other = iron.limited(Scope.READ)
    assert other.get("codes")
    api.access.revoke(other.token.split("_")[1])
    refused(other.tell("GET", "codes"), 401)


#: what each scope is enough for; the rest is 403.
ALLOWED = {
    Scope.READ: set(),
    Scope.RUN: {"queue", "webhook", "retry", "progress", "schedule"},
    Scope.CANCEL: {"cancel", "cancel_all"},
    Scope.PLAYBOOK_WRITE: {"upload", "options", "pause", "project"},
    Scope.WORKER: {"progress"},
    Scope.APPROVE: set(),
}


@pytest.mark.parametrize("scope", ALLOWED)
def test_scope_is_enough_for_its_part_alone(iron: Iron, api: Api, scope: Scope) -> None:
    code_id, task_id = iron.get("codes")["codes"][0]["id"], iron.queue()
    other = iron.limited(scope)
    acts: dict[str, httpx.Response] = {
        "queue": other.tell("POST", "tasks", json={"tasks": TASKS}),
        "webhook": other.tell("POST", "tasks/webhook?code_name=Hello"),
        "retry": other.tell("POST", f"tasks/{task_id}/retry"),
        "progress": other.tell("POST", f"tasks/{task_id}/progress", json={"percent": 1}),
        "schedule": other.tell("POST", "schedules", json={"schedules": [{**TASKS[0], "payload": ""}]}),
        "cancel": other.tell("POST", f"tasks/{task_id}/cancel"),
        "cancel_all": other.tell("POST", f"codes/{code_id}/cancel_all"),
        "upload": other.send_package("Hello", zipped()),
        "options": other.send_package("Hello", None),
        "pause": other.tell("POST", f"codes/{code_id}/pause_task_queue"),
        "project": other.http.post("projects", json={"name": "new"}),
    }
    assert {name for name, answer in acts.items() if answer.status_code == 200} == ALLOWED[scope]
    assert {answer.status_code for answer in acts.values()} <= {200, 403}
    denied = api.access.audit(actor="bob", outcome="denied", limit=50)
    assert len(denied) >= len(acts) - len(ALLOWED[scope])
    looks = ("codes", f"codes/{code_id}/download", "tasks", f"tasks/{task_id}", "schedules", "")
    expected = 403 if scope is Scope.APPROVE else 200
    assert {other.tell("GET", path.rstrip("/")).status_code for path in looks if path} == {expected}


def test_token_of_one_project_gets_nowhere_in_another(iron: Iron, api: Api) -> None:
    """Whatever project the address names, and with the ids of the other one."""
    everything = [one for one in Scope if one is not Scope.ADMIN]
    code_id, task_id = iron.get("codes")["codes"][0]["id"], iron.queue()
    own = own_project(api)
    other = iron.limited(*everything, groups=(own,))
    for project, statuses in ((iron.project, {403}), (own, {404})):
        other.project = project
        answers = [
            *(
                other.tell("GET", f"codes/{code_id}{path}")
                for path in ("", "/download", "/revisions", "/stats")
            ),
            *(other.tell("GET", f"tasks/{task_id}{path}") for path in ("", "/log", "/outlog")),
            *(other.tell("POST", f"tasks/{task_id}/{act}") for act in ("cancel", "retry", "progress")),
            *(other.tell("POST", f"codes/{code_id}/{act}") for act in ("cancel_all", "pause_task_queue")),
            other.tell("DELETE", f"codes/{code_id}"),
        ]
        assert {answer.status_code for answer in answers} == statuses
    other.project = iron.project
    for answer in (
        *(other.tell("GET", path) for path in ("codes", "tasks", "schedules")),
        other.send_package("Hello", zipped()),
        other.tell("POST", "tasks", json={"tasks": TASKS}),
        other.tell("POST", "schedules", json={"schedules": [{**TASKS[0], "payload": ""}]}),
        other.http.get(f"projects/{iron.project}"),
        other.http.post("projects", json={"name": iron.project}),
    ):
        refused(answer, 403)
    assert [one["name"] for one in said(other.http.get("projects"))["projects"]] == [own]
    assert iron.get(f"tasks/{task_id}")["status"] == "queued"


def test_upload_of_somebody_unknown_or_not_allowed_is_not_taken_in(iron: Iron) -> None:
    """The head is enough: nothing of the body has to be sent."""
    reader, other = iron.limited(Scope.READ), iron.limited(Scope.PLAYBOOK_WRITE, groups=("elsewhere",))
    for token, status in (("rw_wrong", 401), (reader.token, 403), (other.token, 403)):
        head = (
            f"POST /2/projects/{iron.project}/codes HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Length: 99999999\r\n"
            f"Authorization: OAuth {token}\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        assert raw(iron.api, head.encode())[0] == status


def test_body_without_another_token_is_limited(iron: Iron) -> None:
    big = json.dumps({"oauth": iron.token, "tasks": [{"code_name": "Hello", "payload": "x" * 60_000}] * 20})
    headers = {"Content-Type": "application/json"}
    refused(iron.anybody().post(f"projects/{iron.project}/tasks", content=big, headers=headers), 413)
    assert len(iron.post("tasks", json.loads(big))["tasks"]) == 20


def test_token_shows_in_no_log_and_in_no_answer(iron: Iron, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    nobody = iron.anybody()
    for answer in (
        nobody.get("projects", params={"oauth": iron.token}),
        nobody.get("nothing", params={"oauth": iron.token}),
        nobody.put("projects", params={"oauth": iron.token}),
        nobody.get(f"projects/{iron.project}/tasks/x", params={"oauth": iron.token}),
        nobody.get(f"projects/{iron.project}/tasks", params={"oauth": iron.token, "page": "x"}),
        nobody.post(f"projects/{iron.project}/tasks", json={"oauth": iron.token, "tasks": iron.token[:9]}),
        nobody.post(f"projects/{iron.project}/tasks", params={"oauth": iron.token}, content=b"\x00"),
    ):
        assert iron.token not in answer.text
        assert iron.token not in str(answer.headers)
    status, head, body = raw(iron.api, f"GET /2/projects?oauth={iron.token} HTTP/9\r\n\r\n".encode())
    assert status == 400
    assert iron.token.encode() not in head + body
    ours = [one for one in caplog.records if not one.name.startswith(("httpx", "httpcore"))]
    assert all(iron.token not in one.getMessage() for one in ours)
    assert iron.token not in json.dumps([str(one) for one in iron.api.access.audit(limit=500)])


def test_page_of_another_site_changes_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """While authentication is off, what a browser sends for another site is not believed."""
    with serving(tmp_path_factory.mktemp("open"), has_auth=False) as api:
        iron = Iron(api)
        for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            refused(iron.anybody(**headers).post("projects", json={"name": "x"}), 403)
        assert said(iron.anybody().post("projects", json={"name": "x"}))


def test_who_may_only_read_sees_masks_for_secrets(iron: Iron) -> None:
    options = {"config": '{"api_token": "s3"}', "env_vars": {"DB_PASSWORD": "s1", "PLACE": "here"}}
    code_id = iron.upload("Secretive", **options)
    task_id = iron.queue("Secretive", payload='{"password": "s2"}', delay=3600)
    draft = {"code_name": "Secretive", "payload": '{"password": "s4"}', "start_at": "2099-01-01T00:00:00Z"}
    schedule_id = iron.post("schedules", {"schedules": [draft]})["schedules"][0]["id"]
    places = ["codes", f"codes/{code_id}", f"codes/{code_id}/revisions", f"tasks/{task_id}", "schedules"]
    places.append(f"schedules/{schedule_id}")
    writer = iron.limited(Scope.RUN, Scope.PLAYBOOK_WRITE)
    for whole in (iron, writer):
        assert all(re.search('s[1-4]["\\\\]', whole.tell("GET", one).text) for one in places)
    for scope in (Scope.READ, Scope.WORKER, Scope.CANCEL):
        reader = iron.limited(scope)
        for one in places:
            text = reader.tell("GET", one).text
            assert "FILTERED" in text, one
            assert not re.search('s[1-4]["\\\\]', text), one
        assert reader.get(f"codes/{code_id}")["env_vars"]["PLACE"] == "here"
    runner = iron.limited(Scope.RUN)
    assert runner.get(f"tasks/{task_id}")["payload"] == '{"password": "s2"}'
    assert runner.get(f"codes/{code_id}")["env_vars"]["DB_PASSWORD"] == "[FILTERED]"

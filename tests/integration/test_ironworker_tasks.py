"""Tasks at ``/2``: queued, listed, cancelled, tried again; and one that runs, from the upload to its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.ironworker_support import DATE, ID, Iron, own_project, refused, said
from tests.support.api import Api, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("tasks")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own, with a code."""
    made = Iron(api, project=own_project(api))
    made.upload()
    return made


def test_tasks_are_queued_listed_and_shown_on_each_engine(any_database_url: str, tmp_path: Any) -> None:
    with serving(tmp_path, any_database_url) as api:
        iron = Iron(api)
        code_id = iron.upload()
        drafts = [{"code_name": "Hello", "payload": f'{{"n": {n}}}', "priority": n} for n in range(3)]
        answer = iron.post("tasks", {"tasks": drafts})
        ids = [one["id"] for one in answer["tasks"]]
        assert answer == {"msg": "Queued up", "tasks": [{"id": one} for one in ids], "status_code": 200}
        assert all(ID.fullmatch(one) for one in ids)
        listed = iron.get("tasks")["tasks"]
        assert [one["id"] for one in listed] == ids[::-1], "the newest first"
        assert all("payload" not in one for one in listed)
        task = iron.get(f"tasks/{ids[1]}")
        dates = [task.pop(key) for key in ("created_at", "updated_at")]
        assert all(DATE.fullmatch(one) for one in dates)
        assert task == {
            "id": ids[1],
            "project_id": said(iron.http.get("projects/default"))["id"],
            "code_id": code_id,
            "code_history_id": iron.get(f"codes/{code_id}")["latest_history_id"],
            "code_name": "Hello",
            "code_rev": "1",
            "status": "queued",
            "payload": '{"n": 1}',
            "priority": 1,
            "timeout": 3600,
            "delay": 0,
            "percent": 0,
            "run_times": 0,
            "retry_count": 0,
        }


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"priority": -3, "timeout": -1, "delay": -5}, {"priority": 0, "timeout": 3600, "delay": 0}),
        ({"priority": 3, "timeout": 0}, {"priority": 0, "timeout": 86400}),
        ({"priority": 2.0, "timeout": 60.0, "delay": 0.0}, {"priority": 2, "timeout": 60, "delay": 0}),
        ({"priority": "1", "timeout": "60"}, {"priority": 1, "timeout": 60}),
        ({"timeout": 10**9}, {"timeout": 86400}),
        ({"label": None, "cluster": None, "sync": False, "name": None}, {"priority": 0}),
        (
            {"label": "L", "cluster": "mem1", "sync": True, "name": "mine"},
            {"label": "L", "cluster": "mem1", "sync": True, "name": "mine"},
        ),
        ({"payload": {"a": [1, "ü"]}}, {"payload": '{"a": [1, "ü"]}'}),
        ({"payload": None}, {"payload": ""}),
        ({"payload": "not \x00 JSON"}, {"payload": "not \x00 JSON"}),
        ({"anything": {"else": 1}, "message_id": "7"}, {"payload": ""}),
    ],
)
def test_values_are_read_as_clients_mean_them(
    iron: Iron, sent: dict[str, Any], shown: dict[str, Any]
) -> None:
    task = iron.get(f"tasks/{iron.queue(**sent)}")
    assert {key: task[key] for key in shown} == shown
    for key in ("label", "cluster", "msg"):
        assert task.get(key) != "", "what is not set is left out"


def test_priority_is_that_of_the_code_when_the_task_names_none(iron: Iron) -> None:
    iron.upload("Urgent", default_priority=2)
    for sent, priority in (({}, 2), ({"priority": 0}, 0), ({"priority": -3}, 2)):
        assert iron.get(f"tasks/{iron.queue('Urgent', **sent)}")["priority"] == priority


def test_nothing_is_queued_when_one_of_the_tasks_is_wrong(iron: Iron) -> None:
    good = {"code_name": "Hello"}
    for wrong, status, reason in (
        ({"code_name": "Nobody"}, 404, "Nobody"),
        ({}, 406, "code_name"),
        ({"code_name": "Hello", "delay": 604801}, 400, "delay"),
        ({"code_name": "Hello", "payload": "x" * 65537}, 400, "payload"),
        ({"code_name": "Hello", "label": "x" * 1001}, 400, "label"),
        ({"code_name": "Hello", "priority": "high"}, 400, "priority"),
        ({"code_name": "Hello", "result_url": "ftp://x y"}, 400, "result_url"),
    ):
        answer = iron.tell("POST", "tasks", json={"tasks": [good, wrong]})
        assert reason in refused(answer, status)
    for body, status in (({}, 406), ({"tasks": []}, 400), ({"tasks": {}}, 400), ({"tasks": [1]}, 400)):
        refused(iron.tell("POST", "tasks", json=body), status)
    assert iron.get("tasks") == {"tasks": []}


def test_list_holds_what_all_of_its_filters_want(iron: Iron) -> None:
    iron.upload("Other one/ü")
    first = iron.queue(label="red", cluster="a")
    second = iron.queue("Other one/ü", label="red")
    third = iron.queue()
    iron.post(f"tasks/{third}/cancel")
    now = int(time.time())
    for query, wanted in (
        ("", [third, second, first]),
        ("?", [third, second, first]),
        ("?queued=1", [second, first]),
        ("?cancelled=1", [third]),
        ("?queued=1&cancelled=1", [third, second, first]),
        ("?queued=0&cancelled=true", [third]),
        ("?complete=%25%21d%28bool%3Dtrue%29", []),
        ("?queued=%25%21d%28bool%3Dtrue%29", [second, first]),
        ("?queued=false", [third, second, first]),
        ("?preparing=1", []),
        ("?label=red", [second, first]),
        ("?cluster=a", [first]),
        ("?code_name=Other%20one/%C3%BC", [second]),
        ("?code_name=Hello&label=red", [first]),
        (f"?from_time={now - 60}&to_time={now + 60}", [third, second, first]),
        (f"?from_time={now + 60}", []),
        (f"?to_time={now - 60}", []),
        ("?from_time=1&to_time=2000000000&per_page=1", [third]),
        ("?per_page=1&page=1", [second]),
        ("?per_page=2&page=1", [first]),
        ("?page=9", []),
        ("?per_page=1000000000", [third, second, first]),
        ("?per_page=-1", [third, second, first]),
    ):
        found = [one["id"] for one in iron.get(f"tasks{query}")["tasks"]]
        assert found == wanted, query
    for query in ("page=-1", "page=x", "page=99999999999999999999", "from_time=soon", "to_time=1e99"):
        refused(iron.tell("GET", f"tasks?{query}"), 400)


def test_webhook_takes_any_body_as_the_payload(iron: Iron) -> None:
    nobody = iron.anybody()
    for body, headers in (
        (b'{"a": 1}', {"Content-Type": "application/json"}),
        (b"a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}),
        ("zwölf".encode(), {"Content-Type": "text/plain"}),
        (b"", {}),
        (b"x" * 65536, {}),
    ):
        path = f"projects/{iron.project}/tasks/webhook?code_name=Hello&oauth={iron.token}&priority=1&delay=7"
        answer = said(nobody.post(path, content=body, headers=headers))
        assert (answer["msg"], ID.fullmatch(answer["id"]) is not None) == ("Queued up.", True)
        task = iron.get(f"tasks/{answer['id']}")
        assert (task["payload"], task["priority"], task["delay"]) == (body.decode(), 1, 7)
    path = "tasks/webhook?code_name=Hello"
    assert "UTF-8" in refused(iron.tell("POST", path, content=b"\xff\xfe"), 400)
    assert "65536" in refused(iron.tell("POST", path, content=b"x" * 65537), 413)
    refused(iron.tell("POST", "tasks/webhook", content=b"{}"), 406)
    refused(nobody.post(f"projects/{iron.project}/{path}", json={"oauth": iron.token}), 401)


def test_cancelled_task_is_cancelled_at_once_and_may_be_tried_again(iron: Iron) -> None:
    own_id = iron.queue(payload="again", priority=1, label="L", timeout=60)
    assert iron.post(f"tasks/{own_id}/cancel") == {"msg": "Cancelled"}
    assert iron.get(f"tasks/{own_id}")["status"] == "cancelled"
    assert iron.post(f"tasks/{own_id}/cancel", {}) == {"msg": "Cancelled"}
    for body, delay in (({"delay": 3}, 3), ({}, 0), (None, 0)):
        answer = iron.post(f"tasks/{own_id}/retry", body)
        (again,) = answer["tasks"]
        assert (answer["msg"], again["id"] != own_id) == ("Queued up", True)
        task = iron.get(f"tasks/{again['id']}")
        assert [task[key] for key in ("payload", "priority", "label", "timeout", "delay", "status")] == [
            *("again", 1, "L", 60, delay, "queued")
        ]


def test_progress_is_kept_in_any_state_and_the_last_message_counts(iron: Iron) -> None:
    own_id = iron.queue()
    for body, percent, msg in (
        ({"percent": 50, "msg": "half"}, 50, "half"),
        ({"percent": 75.0}, 75, "half"),
        ({"msg": "nearly"}, 75, "nearly"),
        ({"msg": ""}, 75, None),
    ):
        assert iron.post(f"tasks/{own_id}/progress", body) == {"msg": "Progress set"}
        task = iron.get(f"tasks/{own_id}")
        assert (task["percent"], task.get("msg")) == (percent, msg)
    iron.post(f"tasks/{own_id}/cancel")
    assert iron.post(f"tasks/{own_id}/progress", {"percent": 100}) == {"msg": "Progress set"}
    for percent in (-1, 101, "most", [1]):
        refused(iron.tell("POST", f"tasks/{own_id}/progress", json={"percent": percent}), 400)


def test_log_is_not_found_before_there_is_one_whatever_is_accepted(iron: Iron) -> None:
    own_id = iron.queue()
    for path in ("log", "outlog"):
        for accept in ("application/json", "*/*", "text/plain"):
            answer = iron.tell("GET", f"tasks/{own_id}/{path}", headers={"Accept": accept})
            assert "log" in refused(answer, 404), "clients ask again when the reason speaks of a log"
    iron.post(f"tasks/{own_id}/cancel")
    answer = iron.tell("GET", f"tasks/{own_id}/log")
    assert (answer.status_code, answer.text) == (200, ""), "nobody is to ask for ever"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_things_of_another_project_are_not_found(iron: Iron, api: Api) -> None:
    own_id = iron.queue()
    other = Iron(api, project=own_project(api))
    for method, path in (
        ("GET", f"tasks/{own_id}"),
        ("GET", f"tasks/{own_id}/log"),
        ("POST", f"tasks/{own_id}/cancel"),
        ("POST", f"tasks/{own_id}/retry"),
    ):
        refused(other.tell(method, path), 404)
    for wrong in ("0" * 24, "x", "..%2f..", "%00", "ü", own_id.upper(), f"{own_id}0"):
        refused(iron.tell("GET", f"tasks/{wrong}"), 404)
    other.project = "nowhere"
    refused(other.tell("GET", "tasks"), 404)


def test_projects_are_made_and_found_by_id_and_by_name(iron: Iron) -> None:
    answer = said(iron.http.post("projects", json={"name": "JpoAig"}))
    assert ID.fullmatch(answer["id"])
    for key in ("JpoAig", answer["id"]):
        found = said(iron.http.get(f"projects/{key}"))
        assert (found["id"], found["name"]) == (answer["id"], "JpoAig")
    listed = said(iron.http.get("projects", params={"per_page": 100}))["projects"]
    assert {"id": answer["id"], "name": "JpoAig"}.items() <= next(
        one for one in listed if one["name"] == "JpoAig"
    ).items()
    assert said(iron.http.post("projects", json={"name": "JpoAig"}))["id"] == answer["id"]
    refused(iron.http.post("projects", json={}), 406)
    refused(iron.http.post("projects", json={"name": "x" * 101}), 400)


def test_what_is_not_here_is_told_truly(iron: Iron) -> None:
    assert "sh" in said(iron.http.get("stacks"))
    assert said(iron.http.get("clusters")) == {"clusters": []}
    refused(iron.http.get("clusters/0123"), 404)
    refused(iron.http.post("clusters", json={"name": "x"}), 405)
    assert "not kept" in refused(iron.tell("POST", "credentials", json={"auth": "e30="}), 400)


def test_addresses_that_do_not_exist_are_answered_in_this_dialect(iron: Iron) -> None:
    for path in (
        "",
        "nothing",
        "projects/default/tasks/",
        "projects//tasks",
        "projects/default/tasks;x",
        "codes",
    ):
        assert refused(iron.http.get(path), 404) == "Not found"
    browser: httpx.Client = iron.anybody(Accept="text/html")
    refused(browser.get("nothing"), 404)
    for method, path in (("PATCH", "projects"), ("DELETE", "projects/default/tasks"), ("PUT", "stacks")):
        refused(iron.http.request(method, path), 405)

"""Codes and tasks over our own API: what is stored is what was sent, and only who may do it does."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from reworker.core.principal import Limits, Scope
from reworker.storage.contract import LogRow
from tests.support.api import Api, refused, serving

ZIP_TYPE = {"Content-Type": "application/zip"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("tasks")) as made:
        yield made


@pytest.fixture(scope="module")
def admin(api: Api) -> httpx.Client:
    return api.client(name="admin")


def package(**files: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as one:
        for name, text in (files or {"main.py": "print(1)\n"}).items():
            one.writestr(name, text)
    return made.getvalue()


def described(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "runtime": "python", "file_name": "main.py", **more}


def uploaded(admin: httpx.Client, name: str, data: bytes = b"", **more: object) -> dict[str, object]:
    """Upload a form with a description and a file."""
    form = {"data": (None, json.dumps(described(name, **more)), "application/json")}
    answer = admin.post("/codes", files={**form, "file": ("x.zip", data or package(), "application/zip")})
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


def queued(admin: httpx.Client, code: str, *payloads: str, project: str = "default") -> list[str]:
    body = {"project": project, "tasks": [{"code": code, "payload": one} for one in payloads or ("",)]}
    answer = admin.post("/tasks", json=body)
    assert answer.status_code == 201, answer.text
    return [one["id"] for one in answer.json()["items"]]


def test_package_comes_back_as_it_was_sent(admin: httpx.Client) -> None:
    first, second = package(), package(**{"main.py": "print(2)\n"})
    answer = admin.post("/codes", params=described("plain"), content=first, headers=ZIP_TYPE)
    assert answer.status_code == 201, answer.text
    code = answer.json()
    assert answer.headers["location"] == f"/api/v1/codes/{code['id']}"
    assert uploaded(admin, "plain", second)["id"] == code["id"]
    url = f"/codes/{code['id']}"
    assert admin.get(f"{url}/download").content == second
    old = admin.get(f"{url}/download", params={"revision": 1})
    assert (old.content, old.headers["content-type"]) == (first, "application/zip")
    newest, older = admin.get(f"{url}/revisions").json()["items"]
    assert (newest["rev"], older["rev"], older["digest"]) == (2, 1, hashlib.sha256(first).hexdigest())
    page = admin.get(f"{url}/revisions", params={"limit": 1}).json()
    assert [one["rev"] for one in page["items"]] == [2]
    rest = admin.get(f"{url}/revisions", params={"limit": 1, "cursor": page["next"]}).json()
    assert ([one["rev"] for one in rest["items"]], rest["next"]) == ([1], None)


def test_upload_of_a_large_file_is_whole(admin: httpx.Client) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as one:
        one.writestr("main.py", "x")
        one.writestr("data", bytes(range(256)) * (12 << 10))
    code = uploaded(admin, "large", made.getvalue())
    assert admin.get(f"/codes/{code['id']}/download").content == made.getvalue()


def test_secrets_are_masked_and_kept_when_the_mask_is_sent_back(api: Api, admin: httpx.Client) -> None:
    config = '{"password": "hunter2", "port": 1}'
    code = uploaded(admin, "secret", env_vars={"API_KEY": "k", "A": "b"}, config=config)
    assert code["env_vars"] == {"API_KEY": "[FILTERED]", "A": "b"}
    assert "hunter2" not in str(code)
    change = {"env_vars": {"API_KEY": "[FILTERED]", "C": "d"}, "config": code["config"], "retries": 2}
    found = admin.patch(f"/codes/{code['id']}", json=change).json()
    assert (found["retries"], found["env_vars"]) == (2, {"API_KEY": "[FILTERED]", "C": "d"})
    options = json.loads(api.storage.reader.code(str(code["id"])).options)
    assert options == {"retries": 2, "env_vars": {"API_KEY": "k", "C": "d"}, "config": config}
    (task,) = queued(admin, "secret", '{"user": "me", "token": "abc"}')
    shown = admin.get(f"/tasks/{task}").json()["payload"]
    assert json.loads(shown) == {"user": "me", "token": "[FILTERED]"}


@pytest.mark.parametrize(
    ("query", "data", "name"),
    [
        (described("bad"), b"no zip", "package-invalid"),
        (described("bad"), b"", "package-invalid"),
        (described("bad"), package(**{"../x": "1"}), "package-invalid"),
        (described("bad"), package(**{"other.py": "1"}), "package-invalid"),
        (described("bad", runtime="cobol"), package(), "task-refused"),
        (described("bad", file_name=""), package(), "task-refused"),
        (described(""), package(), "invalid-query"),
        (described("a\nb"), package(), "task-refused"),
    ],
)
def test_wrong_upload_is_refused_and_keeps_nothing(
    admin: httpx.Client, query: dict[str, object], data: bytes, name: str
) -> None:
    refused(admin.post("/codes", params=query, content=data, headers=ZIP_TYPE), 422, name)
    assert admin.get("/codes", params={"project": "default", "name": "bad"}).json()["items"] == []


def test_wrong_form_is_refused(admin: httpx.Client) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert "ends within" in refused(admin.post("/codes", content=b"--x\r\n", headers=kind), 400, "not-a-form")
    no_boundary = {"Content-Type": "multipart/form-data"}
    refused(admin.post("/codes", content=b"", headers=no_boundary), 400, "not-a-form")
    refused(admin.post("/codes", files={"file": b"x"}), 422, "invalid-body")
    answer = admin.post("/codes", files={"data": (None, '{"name": "absent"}')})
    assert "send a package" in refused(answer, 422, "task-refused")
    refused(admin.post("/codes", json={}), 415, "wrong-content-type")


def test_tasks_are_listed_filtered_and_counted(admin: httpx.Client) -> None:
    uploaded(admin, "listed")
    uploaded(admin, "beside")
    ids = queued(admin, "listed", *"abcde")
    seen, cursor = [], ""
    while cursor is not None:
        page = admin.get("/tasks", params={"code": "listed", "limit": 2, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        queued(admin, "beside")  # what comes meanwhile moves no page
    assert seen == ids[::-1]
    assert all(one["payload"] is None for one in page["items"])
    admin.post(f"/tasks/{ids[0]}/cancel")
    only = admin.get("/tasks", params={"code": "listed", "status": ["cancelled", "error"]}).json()["items"]
    assert [one["id"] for one in only] == ids[:1]
    assert admin.get("/tasks/counts", params={"code": "listed"}).json() == {
        "counts": {"queued": 4, "cancelled": 1}
    }
    foreign = admin.get("/tasks", params={"code": "beside", "limit": 1}).json()["next"]
    refused(admin.get("/tasks", params={"code": "listed", "cursor": foreign}), 422, "invalid-cursor")


def test_log_is_given_exactly_and_from_a_line_on(api: Api, admin: httpx.Client) -> None:
    uploaded(admin, "talks")
    (own_id,) = queued(admin, "talks")
    at = datetime.now(UTC)
    lines = [(1, at, "one", "out"), (1, at, "oh", "err"), (1, at, "tw", "out-"), (1, at, "o ü", "out")]
    api.logs.add([LogRow(own_id, 1, len(lines), msgspec.json.encode(lines))])
    whole = admin.get(f"/tasks/{own_id}/log")
    assert whole.text == "one\noh\ntwo ü\n"
    assert (whole.headers["content-type"], whole.headers["x-last-no"]) == ("text/plain; charset=utf-8", "4")
    assert admin.get(f"/tasks/{own_id}/log", params={"stdout": "true"}).text == "one\ntwo ü\n"
    assert admin.get(f"/tasks/{own_id}/log", params={"after_no": 2}).text == "two ü\n"
    rest = admin.get(f"/tasks/{own_id}/log", params={"after_no": 4})
    assert (rest.text, rest.headers["x-last-no"]) == ("", "4")


def test_task_is_cancelled_tried_again_and_tells_how_far_it_is(admin: httpx.Client) -> None:
    uploaded(admin, "acts")
    (own_id,) = queued(admin, "acts", "{}")
    assert admin.post(f"/tasks/{own_id}/cancel").json()["status"] == "cancelled"
    answer = admin.post(f"/tasks/{own_id}/retry", json={"delay_s": 60})
    again = answer.json()
    assert (answer.status_code, again["status"], again["delay_s"]) == (201, "queued", 60)
    told = admin.post(f"/tasks/{again['id']}/progress", json={"percent": 40, "message": "on it"}).json()
    assert (told["percent"], told["message"]) == (40, "on it")
    refused(admin.post(f"/tasks/{own_id}/progress", json={"percent": 101}), 422, "invalid-body")
    refused(admin.post(f"/tasks/{'f' * 24}/cancel"), 404, "task-not-found")
    refused(admin.post("/tasks", json={"tasks": [{"code": "nowhere"}]}), 404, "code-not-found")
    refused(admin.post("/tasks", json={"tasks": []}), 422, "invalid-body")
    long = {"tasks": [{"code": "acts", "payload": "x" * 70_000}]}
    assert "payload" in refused(admin.post("/tasks", json=long), 422, "task-refused")


def test_code_is_paused_resumed_emptied_and_deleted(admin: httpx.Client) -> None:
    url = f"/codes/{uploaded(admin, 'ends')['id']}"
    ids = queued(admin, "ends", "1", "2")
    assert admin.post(f"{url}/pause").json()["is_paused"] is True
    assert admin.post(f"{url}/pause").json()["is_paused"] is True
    assert admin.post(f"{url}/resume").json()["is_paused"] is False
    assert admin.post(f"{url}/cancel").json() == {"cancelled": 2}
    assert admin.delete(url).status_code == 204
    refused(admin.get(url), 404, "code-not-found")
    assert admin.get(f"/tasks/{ids[0]}").json()["status"] == "cancelled"


def test_schedule_is_made_changed_and_cancelled(admin: httpx.Client) -> None:
    uploaded(admin, "later")
    body = {"code": "later", "cron": "30 4 * * mon-fri", "time_zone": "Europe/Berlin", "priority": 2}
    answer = admin.post("/schedules", json={**body, "payload": '{"token": "abc"}', "task_delay_s": 5})
    made = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/schedules/{made['id']}")
    assert (made["status"], made["task_delay_s"], made["run_count"]) == ("scheduled", 5, 0)
    assert datetime.fromisoformat(made["next_at"]).minute == 30
    assert "abc" not in made["payload"]
    url = f"/schedules/{made['id']}"
    change = {"payload": made["payload"], "cron": "", "run_every_s": 3600, "end_at": None, "label": "x"}
    changed = admin.patch(url, json=change).json()
    assert (changed["cron"], changed["run_every_s"], changed["label"], changed["priority"]) == (
        "",
        3600,
        "x",
        2,
    )
    assert admin.get(url).json() == changed
    assert made["id"] in scheduled(admin)
    assert admin.post(f"{url}/cancel").json()["status"] == "cancelled"
    assert "make a new one" in refused(admin.patch(url, json={"label": "y"}), 422, "task-refused")
    assert made["id"] not in scheduled(admin)


def scheduled(admin: httpx.Client) -> list[str]:
    """Return the ids of the schedules that are not over; others than one's own may be there."""
    return [one["id"] for one in admin.get("/schedules", params={"status": "scheduled"}).json()["items"]]


def test_payload_of_a_schedule_stays_when_its_mask_is_sent_back(api: Api, admin: httpx.Client) -> None:
    uploaded(admin, "masked")
    made = admin.post(
        "/schedules", json={"code": "masked", "payload": '{"token": "abc"}', "delay_s": 9}
    ).json()
    admin.patch(f"/schedules/{made['id']}", json={"payload": made["payload"], "run_times": 3})
    row = api.service.schedules.schedule(made["id"])
    assert (row.payload, row.run_times) == ('{"token": "abc"}', 3)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"cron": "not cron"}, "task-refused"),
        ({"cron": "0 4 * * *", "run_every_s": 60}, "task-refused"),
        ({"cron": "0 4 * * *", "time_zone": "Mars/Base"}, "task-refused"),
        ({"run_every_s": 5}, "task-refused"),
        ({"end_at": "2001-01-01T00:00:00Z"}, "task-refused"),
        ({"start_at": "yesterday"}, "invalid-body"),
        ({"missed": "never"}, "invalid-body"),
        ({"run_times": -1}, "invalid-body"),
        ({"crom": "0 4 * * *"}, "invalid-body"),
    ],
)
def test_wrong_schedule_is_refused(admin: httpx.Client, wrong: dict[str, object], name: str) -> None:
    uploaded(admin, "wrong")
    refused(admin.post("/schedules", json={"code": "wrong", **wrong}), 422, name)


def test_schedule_of_no_code_is_refused(admin: httpx.Client) -> None:
    refused(admin.post("/schedules", json={"code": "nowhere"}), 404, "code-not-found")
    refused(admin.get(f"/schedules/{'f' * 24}"), 404, "schedule-not-found")


def test_projects_are_made_once_and_found_by_name_and_id(admin: httpx.Client) -> None:
    answer = admin.post("/projects", json={"name": "shop"})
    made = answer.json()
    assert (answer.status_code, admin.post("/projects", json={"name": "shop"}).json()) == (201, made)
    assert admin.get("/projects/shop").json() == admin.get(f"/projects/{made['id']}").json() == made
    assert "shop" in [one["name"] for one in admin.get("/projects").json()["items"]]
    refused(admin.get("/projects/nowhere"), 404, "project-not-found")


def test_limited_token_sees_and_does_nothing_elsewhere(api: Api, admin: httpx.Client) -> None:
    admin.post("/projects", json={"name": "theirs"})
    theirs, ours = uploaded(admin, "same", project="theirs"), uploaded(admin, "same")
    (own_id,) = queued(admin, "same")
    (seen,) = queued(admin, "same", project="theirs")
    them = api.client(Scope.RUN, Scope.READ, limits=Limits(groups=("theirs",)), name="them")
    assert [one["id"] for one in them.get("/tasks").json()["items"]] == [seen]
    assert [one["id"] for one in them.get("/codes").json()["items"]] == [theirs["id"]]
    assert them.get("/tasks/counts").json() == {"counts": {"queued": 1}}
    assert [one["name"] for one in them.get("/projects").json()["items"]] == ["theirs"]
    for path in (
        f"/tasks/{own_id}",
        f"/tasks/{own_id}/log",
        f"/codes/{ours['id']}",
        "/tasks?project=default",
    ):
        refused(them.get(path), 403, "forbidden")
    refused(them.post("/tasks", json={"tasks": [{"code": "same"}]}), 403, "forbidden")
    refused(them.post(f"/tasks/{seen}/cancel"), 403, "forbidden")
    refused(them.post("/codes", params=described("x"), content=package(), headers=ZIP_TYPE), 403, "forbidden")
    audit = [(one.action, one.outcome) for one in api.access.audit(limit=10) if one.actor == "them"]
    assert ("task.queue", "denied") in audit


NUL = "a\x00b"
WITH_NUL = (
    ("POST", "/tasks", {"tasks": [{"code": NUL}]}, 404),
    ("POST", "/tasks", {"tasks": [{"code": "nul", "payload": NUL, "label": NUL, "cluster": NUL}]}, 201),
    ("POST", "/tasks", {"project": NUL, "tasks": [{"code": "nul"}]}, 404),
    ("GET", "/tasks?code=a%00b&label=a%00b", None, 200),
    ("GET", "/tasks?project=a%00b", None, 404),
    ("GET", "/tasks?code_id=a%00b", None, 422),
    ("GET", "/tasks/counts?schedule=a%00b", None, 422),
    ("GET", "/tasks/a%00b", None, 404),
    ("GET", "/codes?project=default&name=a%00b", None, 200),
    ("GET", "/codes/a%00b", None, 404),
    ("GET", "/projects/a%00b", None, 404),
    ("POST", "/projects", {"name": NUL}, 422),
    ("POST", "/schedules", {"code": "nul", "payload": NUL, "label": NUL, "delay_s": 60}, 201),
    ("POST", "/schedules", {"code": "nul", "cron": "0 4 * * *", "time_zone": NUL}, 422),
)


@pytest.mark.postgres
def test_nul_is_kept_or_refused_when_the_database_is_postgresql(postgres_url: str, tmp_path: Path) -> None:
    with serving(tmp_path, postgres_url) as api:
        admin = api.client(name="admin")
        uploaded(admin, "nul")
        found = [(*one[:3], admin.request(*one[:2], json=one[2]).status_code) for one in WITH_NUL]
        assert found == list(WITH_NUL)
        (task,) = admin.get("/tasks").json()["items"]
        assert (task["label"], admin.get(f"/tasks/{task['id']}").json()["payload"]) == (NUL, NUL)

"""Codes at ``/2``: uploaded, listed, downloaded, paused and deleted, as IronWorker's clients do."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.ironworker_support import DATE, ID, Iron, own_project, raw, refused, said, zipped
from tests.support.api import Api, serving


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("codes")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own."""
    return Iron(api, project=own_project(api))


def test_code_is_uploaded_read_and_downloaded_on_each_engine(any_database_url: str, tmp_path: Any) -> None:
    with serving(tmp_path, any_database_url) as api:
        iron, package = Iron(api), zipped()
        answer = said(iron.send_package("Hello", package, retries=2, env_vars={"A": "B"}, config="{}"))
        assert answer == {"msg": "Upload successful.", "id": answer["id"], "rev": 1, "status_code": 200}
        code = iron.get(f"codes/{answer['id']}")
        project = said(iron.http.get("projects/default"))
        dates = {key: code.pop(key) for key in ("created_at", "updated_at", "latest_change")}
        assert all(DATE.fullmatch(one) for one in dates.values())
        assert code == {
            "id": answer["id"],
            "project_id": project["id"],
            "name": "Hello",
            "runtime": "sh",
            "file_name": "hello.sh",
            "latest_checksum": hashlib.md5(package).hexdigest(),
            "rev": 1,
            "latest_history_id": code["latest_history_id"],
            "retries": 2,
            "retries_delay": 0,
            "default_priority": 0,
            "config": "{}",
            "env_vars": {"A": "B"},
        }
        assert all(ID.fullmatch(code[key]) for key in ("id", "project_id", "latest_history_id"))
        assert iron.get("codes") == {"codes": [{**code, **dates}]}
        download = iron.tell("GET", f"codes/{code['id']}/download")
        assert download.content == package
        assert download.headers["content-type"] == "application/zip"
        assert download.headers["content-disposition"] == "filename=Hello_1.zip"


def test_upload_of_the_same_name_is_a_new_revision_of_the_same_code(iron: Iron) -> None:
    first, second = zipped(hello__sh="echo 1"), zipped(hello__sh="echo 2")
    own_id = iron.upload(package=first, max_concurrency=3, retries=1)
    assert iron.upload(package=second, retries=4) == own_id
    code = iron.get(f"codes/{own_id}")
    assert (code["rev"], code["max_concurrency"], code["retries"]) == (2, 3, 4), "what is not named stays"
    revisions = iron.get(f"codes/{own_id}/revisions")["revisions"]
    assert [(one["rev"], one["checksum"], one["code_size"]) for one in revisions] == [
        (2, hashlib.md5(second).hexdigest(), len(second)),
        (1, hashlib.md5(first).hexdigest(), len(first)),
    ]
    assert {one["code_id"] for one in revisions} == {own_id}
    assert revisions[0]["id"] == code["latest_history_id"]
    page = iron.get(f"codes/{own_id}/revisions", params={"page": 1, "per_page": 1})["revisions"]
    assert [one["rev"] for one in page] == [1]
    for rev, package in ((1, first), (2, second)):
        path = f"codes/{own_id}/download"
        assert iron.tell("GET", path, params={"revision": rev}).content == package
    for wrong in ("3", "-1", "x", "99999999999"):
        answer = iron.tell("GET", f"codes/{own_id}/download", params={"revision": wrong})
        assert answer.status_code in (400, 404)


def test_options_alone_are_changed_when_there_is_no_package(iron: Iron) -> None:
    own_id = iron.upload(default_priority=1, env_vars={"A": "1"})
    answer = said(iron.send_package("Hello", None, retries=3, env_vars={"B": "2"}, default_priority=-1000))
    assert answer["id"] == own_id
    code = iron.get(f"codes/{own_id}")
    assert (code["rev"], code["retries"], code["env_vars"]) == (1, 3, {"B": "2"})
    assert code["default_priority"] == 1, "out of range is not set"
    assert "send a package" in refused(iron.send_package("New", None), 400)


def test_package_may_come_before_what_is_said_of_it(iron: Iron) -> None:
    """As the Go programs of the guides send it: the boundary is 60 characters of hex."""
    package, boundary = zipped(), "b" * 60
    data = '{"name":"GoWorker","file_name":"hello.sh","runtime":"sh"}\n'
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="worker.zip"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode() + package
    body += (
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="data"\r\n\r\n{data}\r\n--{boundary}--\r\n'
    ).encode()
    answer = iron.anybody().post(
        f"projects/{iron.project}/codes?oauth={iron.token}",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    own_id = said(answer)["id"]
    assert iron.tell("GET", f"codes/{own_id}/download").content == package


@pytest.mark.parametrize("boundary", ["----------ThIs_Is_tHe_bouNdaRY_$", "123456", "a'b(c)+_,-./:=?"])
def test_upload_comes_in_chunks_with_any_boundary(iron: Iron, boundary: str) -> None:
    package = zipped(hello__sh="x" * 100_000)
    values = json.dumps({"name": "Chunky", "runtime": "sh", "file_name": "hello.sh"})
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="data"\r\n\r\n{values}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="/tmp/a b"\r\n'
            "Content-Type: text/plain\r\n\r\n"
        ).encode()
        + package
        + f"\r\n--{boundary}--\r\n".encode()
    )
    answer = iron.tell(
        "POST",
        "codes",
        content=(body[at : at + 7] for at in range(0, len(body), 7)),
        headers={"Content-Type": f'multipart/form-data; boundary="{boundary}"'},
    )
    own_id = said(answer)["id"]
    assert iron.tell("GET", f"codes/{own_id}/download").content == package


@pytest.mark.parametrize("text", ["it's", 'say "hi"', 'it\'s "both" \\ \r\n\t\x00\xff'])
def test_package_arrives_whole_when_python_has_sent_its_repr(iron: Iron, text: str) -> None:
    """The public client for Python sends, on Python 3, the text of the bytes in place of the bytes."""
    package = zipped(hello__sh=text.encode("latin-1") * 50)
    own_id = iron.upload(package=repr(package).encode("ascii"))
    assert iron.tell("GET", f"codes/{own_id}/download").content == package
    assert iron.get(f"codes/{own_id}")["latest_checksum"] == hashlib.md5(package).hexdigest()


@pytest.mark.parametrize(
    "body",
    [b"b'PK\\x03'b'x'", b"b'PK\\q'", b"b'PK\n'", b"b'PK' + open('/etc/passwd').read() + b''", b'b"PK"x"'],
)
def test_repr_that_python_does_not_write_is_refused(iron: Iron, body: bytes) -> None:
    assert "send the file itself" in refused(iron.send_package("Bad", body), 400)


@pytest.mark.parametrize(
    ("command", "runtime", "file_name"),
    [
        ("python hello.sh", "python", "hello.sh"),
        ("sh ./hello.sh", "sh", "hello.sh"),
        ("./hello.sh", "binary", "hello.sh"),
    ],
)
def test_command_of_an_image_names_the_file_when_there_is_a_package(
    iron: Iron, command: str, runtime: str, file_name: str
) -> None:
    own_id = iron.upload(runtime="", file_name="", image="iron/python:2", command=command, stack="")
    code = iron.get(f"codes/{own_id}")
    assert (code["runtime"], code["file_name"]) == (runtime, file_name)


def test_image_without_a_package_and_a_command_with_arguments_are_refused(iron: Iron) -> None:
    reason = refused(iron.send_package("Docker", None, image="iron/hello"), 400)
    assert reason.startswith("You do not have custom Docker images privilege.")
    answer = iron.send_package("Args", zipped(), file_name="", command="python hello.sh --fast")
    assert "takes a program and a file" in refused(answer, 400)


def test_code_is_paused_and_resumed_and_says_so(iron: Iron) -> None:
    own_id = iron.upload(max_concurrency=5)
    for path, first, again, most_count in (
        ("pause_task_queue", "Paused", "Already paused", -1),
        ("resume_task_queue", "Resumed", "Already resumed", 5),
    ):
        assert iron.post(f"codes/{own_id}/{path}", {}) == {"msg": first}
        assert iron.post(f"codes/{own_id}/{path}") == {"msg": again}
        assert iron.get(f"codes/{own_id}")["max_concurrency"] == most_count


def test_deleted_code_is_gone_and_its_name_is_free(iron: Iron) -> None:
    own_id = iron.upload()
    answer = iron.tell("DELETE", f"codes/{own_id}", content=json.dumps({"oauth": iron.token}))
    assert said(answer) == {"msg": "Deleted"}
    assert refused(iron.tell("GET", f"codes/{own_id}"), 404).startswith("Not found")
    assert refused(iron.tell("POST", "tasks", json={"tasks": [{"code_name": "Hello"}]}), 404)
    assert iron.get("codes") == {"codes": []}
    assert iron.upload() != own_id


def test_tasks_of_a_code_are_counted_and_cancelled_together(iron: Iron) -> None:
    own_id = iron.upload()
    tasks = [iron.queue() for _ in range(3)]
    assert iron.post(f"tasks/{tasks[0]}/cancel") == {"msg": "Cancelled"}
    counts = iron.get(f"codes/{own_id}/stats")
    assert (counts["queued"], counts["cancelled"]) == (2, 1)
    assert set(counts) >= {"preparing", "running", "timeout", "error", "complete"}
    assert iron.get(f"codes/{own_id}/stats", params={"start_date": int(time.time()) + 60})["queued"] == 0
    before = {"start_date": 0, "end_date": int(time.time()) - 60}
    assert iron.get(f"codes/{own_id}/stats", params=before)["queued"] == 0
    assert iron.post(f"codes/{own_id}/cancel_all", {}) == {"msg": "Cancelled"}
    assert iron.get(f"codes/{own_id}/stats")["cancelled"] == 3


def test_codes_are_listed_in_pages(iron: Iron) -> None:
    names = [f"C{number}" for number in range(3)]
    for name in names:
        iron.upload(name)
    listed = [
        [one["name"] for one in iron.get("codes", params={"page": page, "per_page": 2})["codes"]]
        for page in range(3)
    ]
    assert listed == [["C2", "C1"], ["C0"], []]
    assert len(iron.get("codes", params={"per_page": -1})["codes"]) == 3
    assert len(iron.get("codes", params={"per_page": 10**9})["codes"]) == 3


def test_name_of_the_download_is_safe_in_a_header(iron: Iron) -> None:
    own_id = iron.upload('a"; x=ü/..')
    headers = iron.tell("GET", f"codes/{own_id}/download").headers
    assert headers["content-disposition"] == "filename=a___x___.._1.zip"


def test_upload_waits_for_the_word_to_go_on(iron: Iron) -> None:
    """As curl and PHP send large bodies: nothing of it before ``100 Continue``."""
    values = json.dumps({"name": "Expecting", "runtime": "sh", "file_name": "hello.sh"})
    body = (
        (
            f'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n{values}\r\n'
            '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        ).encode()
        + zipped()
        + b"\r\n--b--\r\n"
    )
    head = (
        f"POST /2/projects/{iron.project}/codes HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n"
    )
    good = f"{head}Authorization: OAuth {iron.token}\r\n\r\n".encode()
    status, _, answer = raw(iron.api, good, then=body)
    assert (status, json.loads(answer)["msg"]) == (200, "Upload successful.")
    status, _, answer = raw(iron.api, f"{head}Authorization: OAuth rw_wrong\r\n\r\n".encode(), then=body)
    assert status == 401, "who may not upload is told so before anything is sent"


def test_each_of_many_uploads_at_once_is_a_revision_of_its_own(iron: Iron) -> None:
    packages = [zipped(hello__sh=f"echo {number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda package: iron.upload("Busy", package), packages))
    assert len(set(ids)) == 1
    found = iron.get(f"codes/{ids[0]}/revisions")["revisions"]
    assert [one["rev"] for one in found] == list(range(8, 0, -1))
    assert {one["checksum"] for one in found} == {hashlib.md5(one).hexdigest() for one in packages}

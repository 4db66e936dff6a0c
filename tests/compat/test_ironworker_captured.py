"""Requests of IronWorker clients that cannot be had here, as they went over the wire: byte by byte.

Each client is one conversation, since what it asks for has the ids of earlier answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.iron_site import IronSite, zipped

ID = re.compile(r"[0-9a-f]{24}")
CHUNKED = "Transfer-Encoding: chunked"


class Conversation:
    """Requests of one client in one project.

    Args:
        site: that answers.
        project: name of the project, which is made.
        folder: for a package.
    """

    def __init__(self, site: IronSite, project: str, folder: Path) -> None:
        self.site, self.token = site, site.token
        self.client = site.client(project)
        self.project = self.client.project().id
        self.package = zipped(folder / "made.zip", {"hello.py": "print('hello')\n"})

    def say(self, line: str, *headers: str, body: str | bytes = b"", is_framed: bool = True) -> Any:
        """Send a request; return the JSON of its answer, or its text.

        Args:
            line: method and target; ``P`` at the target's begin is the project, ``T`` after ``=`` the token.
            headers: lines.
            body: with Content-Length, unless it is framed otherwise.
            is_framed: say the length of the body.
        """
        method, _, target = line.partition(" ")
        target = target.replace("P/", f"/2/projects/{self.project}/", 1).replace("=T", f"={self.token}")
        raw = body.encode() if isinstance(body, str) else body
        head = [f"{method} {target} HTTP/1.1", f"Host: {self.site.url.rpartition('/')[2]}", *headers]
        if is_framed and (raw or method == "POST"):
            head.append(f"Content-Length: {len(raw)}")
        text = "\r\n".join(head).replace("OAuth T", f"OAuth {self.token}")
        status, answered, answer = self.site.send(text.encode() + b"\r\n\r\n" + raw)
        assert "content-type" in answered
        if status != 200:
            return status, json.loads(answer)["msg"]
        return json.loads(answer) if answered["content-type"] == "application/json" else answer.decode()

    def upload(self, *headers: str, data: str, data_head: str = "", file_head: str, target: str = "") -> Any:
        """Upload the package; return the JSON of the answer.

        Args:
            headers: lines; one can say that the body goes in chunks.
            data: what is said of the package.
            data_head: further header lines of that part.
            file_head: rest of the header lines of the other part, from the file's name on.
            target: query.
        """
        boundary = "3f2f6b0e9a3f4a0c8d2c7c6b1f0e9d8c"
        form = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="data"{data_head}\r\n\r\n{data}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename={file_head}\r\n\r\n'
        ).encode()
        form += self.package + f"\r\n--{boundary}--\r\n".encode()
        has_chunks = CHUNKED in headers
        kind = f"Content-Type: multipart/form-data; boundary={boundary}"
        body = in_chunks(form) if has_chunks else form
        return self.say(f"POST P/codes{target}", *headers, kind, body=body, is_framed=not has_chunks)


@pytest.fixture
def conversation(iron_site: IronSite, tmp_path: Path) -> Callable[[str], Conversation]:
    return lambda project: Conversation(iron_site, project, tmp_path)


def in_chunks(body: bytes) -> bytes:
    return (f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b"") + b"0\r\n\r\n"


PYTHON = ("User-Agent: IronWorker Python v0.3", "Connection: close", "Accept-Encoding: identity")
PYTHON_JSON = (*PYTHON, "Content-Type: application/json", "Accept: application/json")


def uploaded_by_python(own: Conversation) -> Any:
    data = (
        '{"file_name": "hello.py", "standalone": true, "runtime": "python", "code_name": "FibWorker", '
        '"version": 2, "access_key": "FibWorker", "name": "FibWorker", "options": {}, "oauth": "TOK", '
        '"class_name": "FibWorker", "timestamp": "Sat Nov 21 20:40:01 2026"}'
    )
    return own.upload(
        *PYTHON,
        data=data.replace("TOK", own.token),
        data_head="\r\nContent-Type: text/plain; charset=utf-8",
        file_head='"fib.zip"\r\nContent-Type: application/zip',
        target="?oauth=T",
    )


def test_python_client_of_2012_is_answered_when_it_asks_for_tasks(
    conversation: Callable[[str], Conversation],
) -> None:
    own = conversation("captured python 0.0.13")
    uploaded = uploaded_by_python(own)
    assert uploaded.items() >= {"msg": "Upload successful.", "status_code": 200}.items()
    body = (
        '{"tasks": [{"priority": 0, "code_name": "FibWorker", "timeout": 3600, "delay": 600, '
        '"payload": "{\\"max\\": 100}", "name": "FibWorker"}]}'
    )
    queued = own.say("POST P/tasks?oauth=T", *PYTHON_JSON, body=body)
    task = queued["tasks"][0]["id"]
    assert queued == {"msg": "Queued up", "status_code": 200, "tasks": [{"id": task}]}
    details = own.say(f"GET P/tasks/{task}?oauth=T", *PYTHON, "Accept: application/json")
    assert (details["status"], details["payload"]) == ("queued", '{"max": 100}')
    status, msg = own.say(f"GET P/tasks/{task}/log?oauth=T", *PYTHON, "Accept: text/plain")
    assert status == 404
    assert "log" in msg
    assert own.say(f"POST P/tasks/{task}/cancel?oauth=T", *PYTHON_JSON, body="{}") == {"msg": "Cancelled"}
    bye = ("User-Agent: Python-urllib/2.7", "Connection: close")
    assert own.say(f"DELETE P/codes/{uploaded['id']}?oauth=T", *bye) == {"msg": "Deleted"}
    assert own.say("GET P/codes?oauth=T", *PYTHON)["codes"] == []


def test_python_client_of_2012_is_answered_when_it_asks_for_schedules(
    conversation: Callable[[str], Conversation],
) -> None:
    own = conversation("captured python schedules")
    uploaded_by_python(own)
    body = (
        '{"schedules": [{"priority": 0, "code_name": "FibWorker", "delay": 180, "payload": "{}", '
        '"name": "FibWorker"}]}'
    )
    scheduled = own.say("POST P/schedules?oauth=T", *PYTHON_JSON, body=body)
    assert (scheduled["msg"], scheduled["status_code"]) == ("Scheduled", 200)
    schedule = scheduled["schedules"][0]["id"]
    listed = own.say("GET P/schedules?oauth=T", *PYTHON)["schedules"]
    assert [one["id"] for one in listed] == [schedule]
    answer = own.say(f"POST P/schedules/{schedule}/cancel?oauth=T", *PYTHON_JSON, body="{}")
    assert answer == {"msg": "Cancelled"}


def test_ruby_client_is_answered(conversation: Callable[[str], Conversation]) -> None:
    own = conversation("captured ruby")
    usual = ("User-Agent: iron_worker_ruby_ng-1.6.3", "Authorization: OAuth T", "Accept: */*")
    as_json = (*usual, "Content-Type: application/json")
    data = (
        '{"name":"PyW","runtime":"sh","file_name":"hello.py","max_concurrency":3,"retries":2,'
        '"retries_delay":10,"config":"{\\"a\\":1}","default_priority":1}'
    )
    code = own.upload(*usual, data=data, file_head='"PyW"\r\nContent-Type: text/plain')["id"]
    found = own.say(f"GET P/codes/{code}?", *usual)
    kept = {"max_concurrency": 3, "retries": 2, "retries_delay": 10, "config": '{"a":1}', "name": "PyW"}
    assert found.items() >= kept.items()
    for key in ("id", "project_id", "latest_history_id"):
        assert ID.fullmatch(found[key])

    body = (
        '{"tasks":[{"code_name":"PyW","payload":"{\\"a\\":1}","priority":1,"delay":600,"timeout":60,'
        '"label":"L","cluster":"default"}]}'
    )
    task = own.say("POST P/tasks", *as_json, body=body)["tasks"][0]["id"]
    listed = own.say("GET P/tasks?code_name=PyW&queued=1", *usual)["tasks"]
    assert [(one["id"], one["label"], one.get("payload")) for one in listed] == [(task, "L", None)]
    # its stream of a log asks as one asks a proxy
    target = f"{own.site.url}/2/projects/{own.project}/tasks/{task}/log"
    assert own.say(f"GET {target}", *usual)[0] == 404
    assert own.say(f"POST P/tasks/{task}/progress", *as_json, body='{"percent":5,"msg":"m"}') == {
        "msg": "Progress set"
    }
    assert own.say(f"POST P/codes/{code}/pause_task_queue", *as_json, body="{}") == {"msg": "Paused"}
    assert own.say(f"POST P/codes/{code}/pause_task_queue", *as_json, body="{}") == {"msg": "Already paused"}
    assert own.say(f"POST P/codes/{code}/resume_task_queue", *as_json, body="{}") == {"msg": "Resumed"}
    assert own.say(f"POST P/codes/{code}/cancel_all", *as_json, body="{}") == {"msg": "Cancelled"}
    assert own.say(f"GET P/tasks/{task}?", *usual)["status"] == "cancelled"

    body = (
        '{"schedules":[{"code_name":"PyW","payload":"{}","run_every":3600,'
        '"start_at":"2099-01-01T12:00:00Z"}]}'
    )
    schedule = own.say("POST P/schedules", *as_json, body=body)["schedules"][0]["id"]
    assert own.say(f"PUT P/schedules/{schedule}", *as_json, body='{"run_every":120}') == {"msg": "Updated"}
    assert own.say(f"GET P/schedules/{schedule}?", *usual)["run_every"] == 120
    assert isinstance(own.say("GET /2/stacks?", *usual), list)
    assert own.say("GET /2/clusters?", *usual) == {"clusters": []}


def test_php_client_is_answered(conversation: Callable[[str], Conversation]) -> None:
    own = conversation("captured php")
    usual = ("User-Agent: iron_worker_php/1.4.1", "Authorization: OAuth T", "Accept: */*")
    as_json = (*usual, "Content-Type: application/json")
    data = json.dumps({"name": "PhpW", "runtime": "php", "file_name": "hello.py", "oauth": own.token})
    file_head = '"/tmp/worker"\r\nContent-Type: application/octet-stream'
    uploaded = own.upload(*usual, "Expect: 100-continue", data=data, file_head=file_head)
    code = uploaded["id"]
    assert own.say(f"GET P/codes/{code}?&oauth=T", *usual)["runtime"] == "php"
    body = json.dumps({"tasks": [{"code_name": "PhpW", "payload": "{}", "delay": 600}], "oauth": own.token})
    task = own.say("POST P/tasks", *as_json, body=body)["tasks"][0]["id"]
    body = json.dumps({"delay": 700, "oauth": own.token})
    assert own.say(f"POST P/tasks/{task}/retry", *as_json, body=body)["tasks"][0]["id"] != task
    body = json.dumps({"oauth": own.token})
    assert own.say(f"POST P/tasks/{task}/cancel", *as_json, body=body) == {"msg": "Cancelled"}
    body = json.dumps(
        {"schedules": [{"code_name": "PhpW", "payload": "{}", "delay": 90}], "oauth": own.token}
    )
    schedule = own.say("POST P/schedules", *as_json, body=body)["schedules"][0]["id"]
    body = json.dumps({"schedule_id": schedule, "oauth": own.token})
    assert own.say(f"POST P/schedules/{schedule}/cancel", *as_json, body=body) == {"msg": "Cancelled"}
    body = json.dumps({"oauth": own.token})
    assert own.say(f"DELETE P/codes/{code}", *as_json, body=body) == {"msg": "Deleted"}


def test_go_client_is_answered(conversation: Callable[[str], Conversation]) -> None:
    own = conversation("captured go")
    usual = ("User-Agent: iron_go3/worker 0.1", "Authorization: OAuth T", "Accept-Encoding: gzip/deflate")
    as_json = (*usual, "Content-Type: application/json", "Accept: application/json")
    chunked = (*as_json, CHUNKED)
    data = (
        '{"name":"GoW","runtime":"sh","file_name":"hello.py","config":"","max_concurrency":0,"retries":0,'
        '"stack":"","image":"","command":"","retries_delay":0,"env_vars":null,"default_priority":-1000}\n'
    )
    file_head = '"GoW.zip"\r\nContent-Type: application/octet-stream'
    code = own.upload(*usual, CHUNKED, data=data, file_head=file_head)["id"]
    body = (
        '{"tasks":[{"code_name":"GoW","payload":"{}","priority":-3,"timeout":0.0,"delay":600,'
        '"cluster":"","label":""}]}'
    )
    task = own.say("POST P/tasks", *chunked, body=in_chunks(body.encode()), is_framed=False)["tasks"][0]["id"]
    assert own.say(f"GET P/tasks/{task}", *as_json, body="{}")["priority"] == 0
    flags = "complete=%25%21d%28bool%3Dtrue%29"
    assert own.say(f"GET P/tasks?{flags}", *as_json, body="{}")["tasks"] == []
    queued = own.say("GET P/tasks?queued=%25%21d%28bool%3Dtrue%29", *as_json, body="{}")["tasks"]
    assert [one["id"] for one in queued] == [task]
    cancelled = own.say(f"POST P/tasks/{task}/cancel", *chunked, body=in_chunks(b""), is_framed=False)
    assert cancelled == {"msg": "Cancelled"}
    body = (
        '{"schedules":[{"code_name":"GoW","payload":"{}","run_times":0,"run_every":60,'
        '"priority":-3,"timeout":0}]}'
    )
    scheduled = own.say("POST P/schedules", *chunked, body=in_chunks(body.encode()), is_framed=False)
    assert ID.fullmatch(scheduled["schedules"][0]["id"])
    assert own.say(f"GET P/codes/{code}/revisions", *as_json, body="{}")["revisions"][0]["rev"] == 1
    # the command line asks for the project's name before anything else
    assert (
        own.say("GET P/?oauth=T".replace("P/", f"/2/projects/{own.project}"), *usual)["name"] == "captured go"
    )

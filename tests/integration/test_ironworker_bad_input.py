"""What nobody should send to ``/2``, and what is answered: a reason, and nothing is kept."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from reworker.web.ironworker.asking import BODY_BYTES
from tests.integration.ironworker_support import Iron, own_project, raw, refused, said, zipped
from tests.support.api import Api, serving
from tests.support.waiting import wait_until
from tests.unit.codes.zips import Part, written

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
DATA = json.dumps({"name": "Bad", "runtime": "sh", "file_name": "hello.sh"})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serving(tmp_path_factory.mktemp("bad")) as made:
        yield made


@pytest.fixture
def iron(api: Api) -> Iron:
    """Somebody in a project of the test's own."""
    return Iron(api, project=own_project(api))


def is_as_before(iron: Iron) -> bool:
    """Tell whether nothing is in the project, and the server answers."""
    return not (
        iron.get("codes")["codes"] or iron.get("tasks")["tasks"] or iron.get("schedules")["schedules"]
    )


def lying() -> bytes:
    part = Part("hello.sh", b"x" * 10_000)
    part.told_bytes = 1 << 29
    return written([part]).getvalue()


def overlapping() -> bytes:
    first, second = Part("hello.sh", b"x" * 1000), Part("other.sh", b"x" * 1000)
    second.offset = 0
    return written([first, second]).getvalue()


def one(name: str | bytes, **options: Any) -> bytes:
    return written([Part("hello.sh"), Part(name, **options)]).getvalue()


#: packages that are none, and a word of the reason; `None` is any reason.
PACKAGES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no zip": lambda: b"#!/bin/sh\necho hello\n",
    "cut": lambda: zipped()[:-10],
    "up": lambda: one("../evil"),
    "up within": lambda: one("a/../../evil"),
    "absolute": lambda: one("/etc/evil"),
    "drive": lambda: one("C:\\evil"),
    "backslash": lambda: one("a\\..\\evil"),
    "link": lambda: one("link", mode=stat.S_IFLNK | 0o777),
    "device": lambda: one("device", mode=stat.S_IFCHR | 0o666),
    "pipe": lambda: one("pipe", mode=stat.S_IFIFO | 0o666),
    "twice": lambda: one("hello.sh"),
    "case": lambda: one("HELLO.sh"),
    "NUL": lambda: one(b"a\x00b"),
    "newline": lambda: one("a\nb"),
    "long": lambda: one("x" * 300),
    "encrypted": lambda: one("secret", flags=1),
    "lying": lying,
    "overlapping": overlapping,
    "bomb": lambda: written([Part("hello.sh", b"\0" * (8 << 20))] * 1).getvalue().replace(b"PK", b"PX", 1),
    "without the file": lambda: zipped(other__sh="x"),
    "random": lambda: b"PK\x03\x04" + random.Random(1).randbytes(5000),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_package_that_is_none_is_refused_and_not_kept(iron: Iron, name: str) -> None:
    reason = refused(iron.send_package("Bad", PACKAGES[name]()), 400)
    assert len(reason) < 500
    assert is_as_before(iron)


def test_package_over_the_limit_is_refused_by_its_length(iron: Iron) -> None:
    head = (
        f"POST /2/projects/{iron.project}/codes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n"
        f"Authorization: OAuth {iron.token}\r\nContent-Type: {FORM['Content-Type']}\r\n\r\n"
    )
    status, _, body = raw(iron.api, head.encode())
    assert (status, "limit" in json.loads(body)["msg"]) == (413, True)


def part(name: str, content: bytes | str, more: str = "") -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"


END = b"--b--\r\n"
FORMS: dict[str, tuple[bytes, set[int]]] = {
    "nothing": (b"", {400}),
    "no part": (END, {406}),
    "no data": (part("file", zipped(), '; filename="x"') + END, {406}),
    "empty data": (part("data", "") + END, {406}),
    "no JSON": (part("data", "name=Bad") + END, {400}),
    "a list": (part("data", "[]") + END, {400}),
    "no name": (part("data", "{}") + part("file", zipped(), '; filename="x"') + END, {406}),
    "name of nothing": (part("data", '{"name": " ", "file_name": "x"}') + END, {400}),
    "name of 201": (part("data", json.dumps({"name": "x" * 201})) + END, {400}),
    "name with a newline": (part("data", json.dumps({"name": "a\nb"})) + END, {400}),
    "key twice": (part("data", '{"name": "Bad", "name": "Worse"}') + END, {400}),
    "surrogate": (part("data", '{"name": "\\ud800"}') + END, {400}),
    "not UTF-8": (part("data", b'{"name": "\xff"}') + END, {400}),
    "no file_name": (part("data", '{"name": "Bad"}') + part("file", zipped(), '; filename="x"') + END, {406}),
    "huge data": (part("data", " " * (1 << 20) + DATA) + END, {413}),
    "huge config": (part("data", json.dumps({"name": "Bad", "config": "x" * 65537})) + END, {400}),
    "odd variables": (part("data", json.dumps({"name": "Bad", "env_vars": {"A=B": "1"}})) + END, {400}),
    "variables of a list": (part("data", json.dumps({"name": "Bad", "env_vars": [1]})) + END, {400}),
    "eleven retries": (part("data", json.dumps({"name": "Bad", "retries": 11})) + END, {400}),
    "retries in words": (part("data", json.dumps({"name": "Bad", "retries": "many"})) + END, {400}),
    "no end": (part("data", DATA), {400}),
    "no name of a part": (b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, {400}),
    "no headers": (b"--b\r\n\r\nx\r\n" + END, {400}),
    "endless headers": (b"--b\r\n" + b"X: y\r\n" * 20_000, {400}),
    "many parts": (part("data", DATA) * 2000 + END, {400}),
    "other boundary": (part("data", DATA).replace(b"--b", b"--c"), {400}),
}


@pytest.mark.parametrize("name", FORMS)
def test_form_that_is_none_is_refused(iron: Iron, name: str) -> None:
    body, statuses = FORMS[name]
    answer = iron.tell("POST", "codes", content=body, headers=FORM)
    refused(answer, answer.status_code)
    assert answer.status_code in statuses
    assert is_as_before(iron)


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 500}"],
)
def test_form_without_a_good_boundary_is_refused(iron: Iron, kind: str) -> None:
    body = part("data", DATA) + END
    refused(iron.tell("POST", "codes", content=body, headers={"Content-Type": kind}), 400)


@pytest.mark.parametrize(
    "body",
    [
        *(b"{", b"[1]", b'"x"', b"NaN", b'{"tasks": NaN}', b'{"tasks": 1e999}', b"\xff\xfe{}", b"\x00"),
        b'{"tasks": [], "tasks": []}',
        b'{"tasks": [{"code_name": "\\udead"}]}',
        b'{"tasks": [{"code_name": "Hello", "payload": "\\ud800"}]}',
        b'{"tasks": [{"code_name": "Hello", "priority": true}]}',
        b'{"tasks": [{"code_name": "Hello", "timeout": {}}]}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"tasks": [' + b'{"code_name": "Hello"},' * 1000 + b'{"code_name": "Hello"}]}',
    ],
)
def test_body_that_is_no_request_is_refused_with_a_reason(iron: Iron, body: bytes) -> None:
    iron.upload()
    for path in ("tasks", "schedules", f"tasks/{'0' * 24}/progress"):
        answer = iron.tell("POST", path, content=body, headers=JSON)
        assert len(refused(answer, answer.status_code)) < 300
        assert 400 <= answer.status_code < 500
    assert iron.get("tasks") == {"tasks": []}


def test_body_over_the_limit_is_refused_though_it_names_no_length(iron: Iron) -> None:
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    head = (
        f"POST /2/projects/{iron.project}/tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: OAuth {iron.token}\r\nContent-Type: application/json\r\n\r\n"
    )
    status, _, body = raw(iron.api, head.encode() + chunk * ((BODY_BYTES >> 20) + 1))
    assert (status, "limit" in json.loads(body)["msg"]) == (413, True)
    assert is_as_before(iron)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "..%2f..%2fapi%2fv1%2fdeployments",
            "%2e%2e/",
            "codes%00",
            "codes.",
            "CODES",
            "codes;a=b",
            "codes%0d%0aX: y",
        ),
        *("codes/%", "tasks/%ff", "tasks/\u202etxt", "tasks/" + "a" * 5000, "schedules/%2f"),
    ],
)
def test_odd_path_leads_nowhere(iron: Iron, path: str) -> None:
    path = path.encode("ascii", "replace").decode().replace(" ", "%20")
    line = f"GET /2/projects/{iron.project}/{path} HTTP/1.1"
    status, head, body = raw(
        iron.api, f"{line}\r\nHost: localhost\r\nAuthorization: OAuth {iron.token}\r\n\r\n".encode()
    )
    assert status == 404
    assert b"x: y" not in head.lower()
    assert json.loads(body)["msg"].startswith("Not found")


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "OPTIONS", "PROPFIND", "get", "X" * 300])
def test_method_that_is_none_is_refused(iron: Iron, method: str) -> None:
    line = f"{method} /2/projects/{iron.project}/codes HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert raw(iron.api, line.encode())[0] in (400, 405)


def test_client_that_goes_away_within_its_upload_leaves_nothing(iron: Iron) -> None:
    open_before = _temporary_files()
    place = urlsplit(iron.api.url)
    for sent in (b"--b\r\n", part("data", DATA) + part("file", b"x" * 3_000_000, '; filename="x"')):
        with socket.create_connection((place.hostname or "", place.port or 0), timeout=30) as connection:
            connection.sendall(
                (
                    f"POST /2/projects/{iron.project}/codes HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: OAuth {iron.token}\r\nContent-Length: 9000000\r\n"
                    f"Content-Type: {FORM['Content-Type']}\r\n\r\n"
                ).encode()
                + sent
            )
    wait_until(lambda: _temporary_files() <= open_before)
    assert is_as_before(iron)


def _temporary_files() -> int:
    """Return how many deleted files this process has open: uploads that are taken in."""
    folder, found = Path("/proc/self/fd"), 0
    for name in os.listdir(folder):
        try:
            target = os.readlink(folder / name)
        except OSError:
            continue
        found += target.startswith(tempfile.gettempdir()) and target.endswith("(deleted)")
    return found


def test_progress_of_odd_kinds_is_refused_and_long_words_are_cut(iron: Iron) -> None:
    iron.upload()
    own_id = iron.queue()
    for body in ({"percent": "1e999"}, {"percent": "x" * 50}, {"percent": []}, {"percent": 10**30}):
        refused(iron.tell("POST", f"tasks/{own_id}/progress", json=body), 400)
    said(iron.tell("POST", f"tasks/{own_id}/progress", json={"msg": "ü" * 100_000}))
    assert iron.get(f"tasks/{own_id}")["msg"] == "ü" * 65536

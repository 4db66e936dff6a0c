"""A server, and a client that speaks IronWorker's dialect with it."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import socket
import zipfile
from typing import Any
from urllib.parse import urlsplit

import httpx

from reworker.core.principal import Limits, Scope
from tests.support.api import Api

SCRIPT = 'echo "hello"\n'
#: what every id looks like.
ID = re.compile(r"[0-9a-f]{24}")
#: RFC 3339, as clients in Go and Java read it.
_numbers = itertools.count(1)
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def zipped(**files: str | bytes) -> bytes:
    """Return a zip file; names have ``__`` for the dot."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in (files or {"hello__sh": SCRIPT}).items():
            package.writestr(name.replace("__", "."), text)
    return made.getvalue()


class Iron:
    """A client with a token; `tell` makes a request in a project.

    Args:
        api: the server.
        project: name of the project in the addresses.
    """

    def __init__(self, api: Api, *scopes: Scope, project: str = "default", name: str = "ann") -> None:
        self.api, self.project = api, project
        self.token = api.token(*scopes, name=name)
        self.http = self.anybody(Authorization=f"OAuth {self.token}")

    def anybody(self, **headers: str) -> httpx.Client:
        """Return a client with other headers."""
        # no certificates are read for a server without TLS: that takes longer than most tests
        made = httpx.Client(
            base_url=f"{self.api.url}/2/", timeout=30, trust_env=False, headers=headers, verify=False
        )
        self.api.clients.append(made)
        return made

    def limited(self, *scopes: Scope, groups: tuple[str, ...] = ()) -> Iron:
        """Return somebody else, limited to some projects."""
        other = Iron(self.api, *scopes, project=self.project, name="bob")
        if groups:
            other.token = self.api.token(*scopes, limits=Limits(groups=groups), name="bob")
            other.http = self.anybody(Authorization=f"OAuth {other.token}")
        return other

    def tell(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a request to an address below the project's."""
        return self.http.request(method, f"projects/{self.project}/{path}", **options)

    def get(self, path: str, **options: Any) -> Any:
        """Return what an address says."""
        return said(self.tell("GET", path, **options))

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        """Return what is answered to a body of JSON."""
        return said(self.tell("POST", path, **({"json": body} if body is not None else {}), **options))

    def upload(self, name: str = "Hello", package: bytes | None = None, **data: Any) -> str:
        """Upload a code; return its id."""
        return str(said(self.send_package(name, zipped() if package is None else package, **data))["id"])

    def send_package(self, name: str, package: bytes | None, **data: Any) -> httpx.Response:
        """Send a package as most clients do; None sends none."""
        values = {"name": name, "runtime": "sh", "file_name": "hello.sh", **data}
        form: dict[str, Any] = {"data": (None, json.dumps(values))}
        if package is not None:
            form["file"] = ("hello.zip", package, "application/zip")
        return self.tell("POST", "codes", files=form)

    def queue(self, code_name: str = "Hello", **values: Any) -> str:
        """Queue a task; return its id."""
        body = self.post("tasks", {"tasks": [{"code_name": code_name, **values}]})
        return str(body["tasks"][0]["id"])


def own_project(api: Api) -> str:
    """Make a project and return its name."""
    return api.service.projects.add(f"Jpo-{next(_numbers)}").name


def said(answer: httpx.Response) -> Any:
    """Return the JSON of an answer that must be a good one."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def refused(answer: httpx.Response, status: int) -> str:
    """Check how an error looks; return its reason."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    reason = answer.json()["msg"]
    assert isinstance(reason, str)
    assert reason
    return reason


def raw(api: Api, request: bytes, *, then: bytes = b"") -> tuple[int, bytes, bytes]:
    """Send bytes as they are and return (status, head, body) of the last answer on the connection.

    Args:
        request: is sent at once.
        then: is sent when the server has said ``100 Continue``.
    """
    place = urlsplit(api.url)
    with socket.create_connection((place.hostname or "", place.port or 0), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):  # who is refused early is to hear why
            connection.sendall(request)
        found = b""
        if then:
            while b"\r\n\r\n" not in found:
                found += connection.recv(65536)
            if found.startswith(b"HTTP/1.1 100"):
                found = found.partition(b"\r\n\r\n")[2]
                connection.sendall(then)
        while b"\r\n\r\n" not in found or not _is_whole(found):
            piece = connection.recv(65536)
            if not piece:
                break
            found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, body


def _is_whole(found: bytes) -> bool:
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")

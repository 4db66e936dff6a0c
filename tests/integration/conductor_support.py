"""A server for workers that poll, over a gateway of the test's own, and the ways to ask it."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from reworker.core.principal import Scope
from reworker.web.conductor.settings import ConductorSettings
from tests.support.api import Api, serving
from tests.support.fake_gateway import FakeGateway

#: seconds for which polls are held, unless a test has more patience.
HOLD_S = 0.05


class Poller:
    """A server, its gateway, and a worker with a token.

    Args:
        api: the server.
        gateway: behind it.
    """

    def __init__(self, api: Api, gateway: FakeGateway) -> None:
        self.api, self.gateway = api, gateway
        self.token = api.token(Scope.WORKER, name="worker")
        self.http = self.client(self.token)

    def client(self, token: str = "", **headers: str) -> httpx.Client:
        """Return a client with a token, or with none."""
        own = {"X-Authorization": token} if token else {}
        made = httpx.Client(base_url=self.api.url, timeout=30, trust_env=False, headers=own | headers)
        self.api.clients.append(made)
        return made

    def poll(self, name: str = "t", **query: Any) -> httpx.Response:
        """Poll for one task."""
        return self.http.get(f"/api/tasks/poll/{name}", params={"workerid": "w", **query})

    def taken(self, name: str = "t", **fields: Any) -> str:
        """Put a step into the gateway and take it; return its task id."""
        self.gateway.put(name, **fields)
        return str(self.poll(name).json()["taskId"])

    def say(self, task_id: str, path: str = "/api/tasks", **fields: Any) -> httpx.Response:
        """Say something of a task."""
        return self.http.post(path, json={"workflowInstanceId": "wf", "taskId": task_id, **fields})

    def socket(self) -> socket.socket:
        """Return a connection."""
        parts = urlsplit(self.api.url)
        made = socket.create_connection((str(parts.hostname), parts.port), 30)
        made.settimeout(30)
        return made

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """Return the head of a request, as clients send it."""
        lines = (f"{method} {path} HTTP/1.1", "Host: x", f"X-Authorization: {self.token}", *headers, "", "")
        return "\r\n".join(lines).encode()

    def posted(self, path: str, document: Any) -> bytes:
        """Return a request with a body of JSON."""
        body = json.dumps(document).encode()
        return self.head("POST", path, f"Content-Length: {len(body)}") + body


@contextlib.contextmanager
def polled(folder: Path, *, hold_s: float = HOLD_S, **settings: Any) -> Iterator[Poller]:
    """Serve for the block; `settings` are those of the interface, or `has_auth`."""
    web = {"has_auth": settings.pop("has_auth", True)}
    gateway = FakeGateway()
    conductor = ConductorSettings(hold_s=hold_s, **settings)
    with serving(folder, gateway=gateway, conductor=conductor, **web) as api:
        yield Poller(api, gateway)

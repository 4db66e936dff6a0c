"""The HTTP side on a real socket, over a database of its own, with tokens as they are wanted."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reworker.clock import SystemClock
from reworker.core.access import Access
from reworker.core.principal import Limits, Scope
from reworker.core.service import Service
from reworker.gateway.contract import Gateway
from reworker.host.health import Report
from reworker.storage.contract import LogStore, Storage
from reworker.storage.opening import open_logs, open_storage
from reworker.web.app import create_app
from reworker.web.conductor.parts import parts_of
from reworker.web.context import Site
from reworker.web.oidc.login import OidcLogin
from reworker.web.server import WebServer
from reworker.web.settings import WebSettings
from reworker.web.streams import Watcher

#: a playbook that does nothing, on two hosts.
PLAYBOOK = """\
group: web
name: restart
execution:
- hosts: [web1, web2]
  steps: [noop:Do]
"""


def playbook(group: str = "web", name: str = "restart", hosts: str = "[web1]", **more: Any) -> str:
    """Return a playbook of one step."""
    top = "".join(f"{key}: {json.dumps(value)}\n" for key, value in more.items())
    return f"group: {group}\nname: {name}\n{top}execution:\n- hosts: {hosts}\n  steps: [noop:Do]\n"


@dataclass(eq=False)
class Api:
    """A server and what stands behind it."""

    url: str
    storage: Storage
    logs: LogStore
    service: Service
    access: Access
    watcher: Watcher
    clients: list[httpx.Client] = field(default_factory=list)

    def token(self, *scopes: Scope, limits: Limits | None = None, name: str = "somebody") -> str:
        """Make a token and return its text; without scopes it may do all."""
        return self.access.create_token(name, scopes or (Scope.ADMIN,), limits)[1]

    def client(
        self, *scopes: Scope, limits: Limits | None = None, name: str = "somebody", **options: Any
    ) -> httpx.Client:
        """Return a client with a token of these scopes."""
        headers = {"Authorization": f"Bearer {self.token(*scopes, limits=limits, name=name)}"}
        return self.anybody(headers=headers, **options)

    def anybody(self, **options: Any) -> httpx.Client:
        """Return a client without a token."""
        made = httpx.Client(base_url=f"{self.url}/api/v1", timeout=30, trust_env=False, **options)
        self.clients.append(made)
        return made

    def start(self, text: str = PLAYBOOK, **options: Any) -> str:
        """Start a deployment beside the HTTP side."""
        return self.service.submit(text, **{"actor": "starter", **options})


@contextlib.contextmanager
def serving(
    folder: Path,
    url: str = "",
    oidc: OidcLogin | None = None,
    gateway: Gateway | None = None,
    **settings: Any,
) -> Iterator[Api]:
    """Serve for the block.

    Args:
        folder: for the database.
        url: of another database.
        oidc: logins through a provider.
        gateway: serves workers that speak Conductor's HTTP, as the setting `conductor` says; None is none.
        settings: of the HTTP side.
    """
    place = url or f"sqlite:///{folder / 'api.db'}"
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(contextlib.closing(open_storage(place)))
        logs = stack.enter_context(contextlib.closing(open_logs(place)))
        clock = SystemClock()
        access = stack.enter_context(contextlib.closing(Access(storage, clock)))
        service = Service(storage, logs, clock)
        web = WebSettings(**{"port": 0, **settings})
        site = Site(service, access, clock, web, probe=lambda: Report("web"), oidc=oidc)
        app = create_app(site, conductor=parts_of(site, storage, gateway) if gateway else None)
        server = stack.enter_context(WebServer(app, web, on_stop=app.state.end))
        made = Api(server.url, storage, logs, service, access, app.state.watcher)
        yield made
        for one in made.clients:
            one.close()


def refused(answer: httpx.Response, status: int, name: str) -> str:
    """Check a problem document; return what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:reworker:problem:{name}"
    assert problem["status"] == status
    return str(problem["detail"])


def count(api: Api) -> int:
    """Return how many deployments there are."""
    return sum(api.service.reader.counts_by_status().values())

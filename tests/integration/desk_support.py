"""A server of HTTP with a desk on a real broker, and people with tokens who ask it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pika

from reworker.cli.wiring import opened_storage
from reworker.clock import SystemClock
from reworker.config import mq_settings
from reworker.core.access import Access
from reworker.core.principal import Limits, Scope
from reworker.core.service import Service
from reworker.gateway.contract import Gateway
from reworker.host.health import Report
from reworker.web.app import create_app
from reworker.web.context import Site
from reworker.web.desk import BusDesk
from reworker.web.server import WebServer
from reworker.web.settings import WebSettings


class Counter:
    """The server, and clients of it by the scopes of their tokens."""

    def __init__(self, url: str, access: Access, desk: BusDesk | None) -> None:
        self.url, self.access, self.desk = url, access, desk
        self._clients: list[httpx.Client] = []
        self.admin = self.client(Scope.ADMIN)

    def client(self, *scopes: Scope, limits: Limits | None = None) -> httpx.Client:
        name = "-".join(scopes) or "nobody"
        _, text = self.access.create_token(name, scopes or [Scope.WORKER], limits)
        made = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {text}"}, timeout=30)
        self._clients.append(made)
        return made

    def get(self, path: str, **query: Any) -> Any:
        answer = self.admin.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def audit(self) -> list[tuple[str, str, str, str]]:
        """Return who did what, to what, and how that went, the first first."""
        rows = [one for one in self.access.audit() if not one.action.startswith("token.")]
        return [(one.actor, one.action, one.target, one.outcome) for one in reversed(rows)]

    def queue(self, name: str) -> Any:
        """Return what is said of a queue, or None."""
        items = self.get("queues")["items"]
        return next((one for one in items if one["name"] == name), None)

    def letters(self, **query: Any) -> list[Any]:
        """Return the dead letters."""
        found: list[Any] = self.get("dead-letters", **query)["items"]
        return found

    def close(self) -> None:
        for one in self._clients:
            one.close()


@contextmanager
def counter(
    folder: Path,
    mq: str | None,
    *,
    management: str = "",
    has_auth: bool = True,
    gateway: Gateway | None = None,
) -> Iterator[Counter]:
    """Serve a database, with a desk when a broker is named, and a gateway when there is one."""
    clock, settings = SystemClock(), WebSettings(port=0, has_auth=has_auth)
    with ExitStack() as stack:
        storage, logs = stack.enter_context(opened_storage(f"sqlite:///{folder / 'desk.db'}"))
        access = stack.enter_context(closing(Access(storage, clock)))
        desk = None
        if mq is not None:
            made = BusDesk(mq_settings(mq), storage.reader, clock, access.note, management=management)
            desk = stack.enter_context(made)
        service = Service(storage, logs, clock)
        probe = partial(Report, "web")
        site = Site(service, access, clock, settings, desk=desk, probe=probe, gateway=gateway)
        app = create_app(site)
        server = stack.enter_context(WebServer(app, settings, on_stop=app.state.watcher.end))
        yield stack.enter_context(closing(Counter(server.url, access, desk)))


@contextmanager
def channel_of(url: str) -> Iterator[Any]:
    """Give a channel on a broker that has the queue of dead letters."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    made = connection.channel()
    made.exchange_declare("re", "topic", durable=True)
    made.queue_declare("re.dead", durable=True)
    made.confirm_delivery()
    yield made
    connection.close()


def put_letter(channel: Any, body: bytes, reason: str = "odd", queue: str = "", **headers: Any) -> None:
    """Put a dead letter that came from a queue by its name."""
    told = {"x-reworker-reason": reason, "x-reworker-queue": queue, **headers}
    if queue:
        told |= {"x-reworker-exchange": "", "x-reworker-key": queue}
    channel.basic_publish("", "re.dead", body, pika.BasicProperties(delivery_mode=2, headers=told))


def bodies_in(channel: Any, queue: str) -> list[bytes]:
    """Take what lies in a queue."""
    found = []
    while (got := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append(got[2])
    return found

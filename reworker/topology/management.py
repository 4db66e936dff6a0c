"""What RabbitMQ's management plugin says of a virtual host, over HTTP: AMQP itself cannot list anything.

It only reads. Where nobody has named a URL, a password goes only to who introduces himself as such a plugin;
it goes through no proxy, and follows no redirection.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

import msgspec

from reworker.bus.contract import BindingSpec
from reworker.errors import CannotConnect, ConfigError
from reworker.topology.model import QUEUE_TYPES

#: ports of the plugin, without and with TLS. Source: RabbitMQ, management.tcp.port, management.ssl.port.
PORT, TLS_PORT = 15672, 15671
#: seconds until the plugin answers, when nobody said that it is there; and when somebody did.
SEARCH_S, ANSWER_S = 2.0, 30.0
#: bytes of one answer, at most; a queue takes about 300.
MAX_BYTES = 256 * 1024 * 1024
#: how the plugin introduces itself to who has no password. Source: RabbitMQ 3.10.
REALM = "RabbitMQ Management"
_NO_USE = (urllib.error.URLError, OSError, ValueError)


class FoundExchange(msgspec.Struct, frozen=True):
    """An exchange as it is."""

    name: str
    type: str
    durable: bool
    auto_delete: bool = False
    internal: bool = False
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)


class FoundQueue(msgspec.Struct, frozen=True):
    """A queue as it is; the counts may be some seconds old."""

    name: str
    durable: bool
    auto_delete: bool = False
    exclusive: bool = False
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)
    messages: int = 0
    messages_unacknowledged: int = 0
    consumers: int = 0


class QueueFigures(msgspec.Struct, frozen=True):
    """How a queue is doing; some seconds old, and absent when the broker has not counted yet.

    Args:
        name: of the queue.
        exclusive: it belongs to one connection.
        messages_ready: wait for a consumer.
        messages_unacknowledged: were delivered, and not settled.
        consumers: read it.
        message_stats: what was counted since the queue is there, by RabbitMQ's names.
        head_message_timestamp: of the first message, when its sender gave one, seconds since 1970.
    """

    name: str
    exclusive: bool = False
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None
    consumers: int | None = None
    message_stats: Any = None
    head_message_timestamp: Any = None


class _FoundBinding(msgspec.Struct, frozen=True):
    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _FoundHost(msgspec.Struct, frozen=True):
    """A virtual host; before RabbitMQ 3.11 it has no default, and later it may be ``undefined``."""

    name: str
    default_queue_type: str | None = None


Row = TypeVar("Row", FoundExchange, FoundQueue, QueueFigures, _FoundBinding, _FoundHost)


class Listing(msgspec.Struct, frozen=True):
    """Everything in a virtual host.

    Args:
        exchanges: by name.
        queues: by name.
        bindings: of queues to exchanges that have a name.
        default_type: of queues that are declared without one.
    """

    exchanges: Mapping[str, FoundExchange]
    queues: Mapping[str, FoundQueue]
    bindings: frozenset[BindingSpec]
    default_type: str = "classic"


class Login(msgspec.Struct, frozen=True):
    """Who asks, and how TLS is spoken; None is the system's way."""

    user: str
    password: str
    tls: ssl.SSLContext | None = None


class NotSeen(Exception):
    """The plugin cannot be used; the text says why."""


class Management:
    """The HTTP API of one broker.

    Args:
        url: ``http(s)://[user:password@]host[:port][/path]``.
        login: used unless the URL has its own.
        timeout_s: for each answer.

    Raises:
        ConfigError: it is no such URL.
    """

    def __init__(self, url: str, login: Login, timeout_s: float = ANSWER_S) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port or (TLS_PORT if parts.scheme == "https" else PORT)
        except ValueError as error:
            raise ConfigError(f"not a URL: {error}", key="--management") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("expected http://HOST:PORT or https://HOST:PORT", key="--management")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.url = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"
        user = login.user if parts.username is None else unquote(parts.username)
        password = login.password if parts.password is None else unquote(parts.password)
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._user, self._timeout_s = user, timeout_s
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=login.tls),
            _NoRedirection(),
        )

    def listing(self, vhost: str) -> Listing:
        """Return everything in a virtual host.

        Raises:
            CannotConnect: it does not answer, or not to us.
        """
        try:
            return self._listing(vhost)
        except NotSeen as error:
            raise CannotConnect(self.url, str(error), 1) from error

    def listing_of_broker(self, vhost: str, cluster_name: str, port: int) -> Listing:
        """Return everything in a virtual host, if this is the broker that we mean.

        Args:
            vhost: its name.
            cluster_name: of that broker, as it says in AMQP.
            port: its port for AMQP.

        Raises:
            NotSeen: nobody answers, or somebody else, or not to us.
        """
        self.recognise(cluster_name, port)
        return self._listing(vhost)

    def recognise(self, cluster_name: str, port: int) -> None:
        """Make sure that this is the plugin of the broker that we mean; see `listing_of_broker`.

        Raises:
            NotSeen: nobody answers, or somebody else, or not to us.
        """
        self._introduce()
        overview = self._get("/api/overview")
        found_name = overview.get("cluster_name") if isinstance(overview, dict) else None
        # Only who may monitor sees the ports.
        listeners = overview.get("listeners", ()) if isinstance(overview, dict) else ()
        ports = {one.get("port") for one in listeners if str(one.get("protocol", "")).startswith("amqp")}
        if found_name != cluster_name or (ports and port not in ports):
            raise NotSeen(f"it belongs to another broker, {found_name!r}")

    def figures(self, vhost: str) -> dict[str, QueueFigures]:
        """Return how each queue of a virtual host is doing, by name.

        Raises:
            NotSeen: it does not answer, or not to us.
        """
        rows = self._rows(f"/api/queues/{quote(vhost, safe='')}", QueueFigures)
        return {one.name: one for one in rows}

    def _listing(self, vhost: str) -> Listing:
        place = quote(vhost, safe="")
        exchanges = self._rows(f"/api/exchanges/{place}", FoundExchange)
        queues = self._rows(f"/api/queues/{place}", FoundQueue)
        bindings = self._rows(f"/api/bindings/{place}", _FoundBinding)
        hosts = self._rows("/api/vhosts", _FoundHost)
        types = [one.default_queue_type for one in hosts if one.name == vhost]
        return Listing(
            exchanges={one.name: one for one in exchanges},
            queues={one.name: one for one in queues},
            bindings=frozenset(
                BindingSpec(one.source, one.destination, one.routing_key)
                for one in bindings
                if one.source and one.destination_type == "queue"
            ),
            default_type=types[0] if types and types[0] in QUEUE_TYPES else "classic",
        )

    def _rows(self, path: str, kind: type[Row]) -> tuple[Row, ...]:
        columns = ",".join(kind.__struct_fields__)
        rows = self._get(f"{path}?columns={columns}")
        try:
            return tuple(msgspec.convert(row, kind) for row in rows)
        except msgspec.ValidationError as error:
            raise NotSeen(f"its answer cannot be read: {error}") from error

    def _introduce(self) -> None:
        """Make sure that the plugin is there before it gets to see a password."""
        try:
            self._open("/api/overview", {}).close()
            realm = ""
        except urllib.error.HTTPError as error:
            realm = error.headers.get("www-authenticate", "") if error.code == 401 else ""
        except _NO_USE as error:
            raise NotSeen(_words(error)) from error
        if REALM not in realm:
            raise NotSeen("what answers there is not RabbitMQ's management plugin")

    def _get(self, path: str) -> Any:
        try:
            with self._open(path, {"Authorization": self._authorization}) as response:
                text = response.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise NotSeen(f"its answer is larger than {MAX_BYTES} bytes")
            return json.loads(text)
        except urllib.error.HTTPError as error:
            raise NotSeen(self._refusal(error.code)) from error
        except _NO_USE as error:
            raise NotSeen(_words(error)) from error

    def _refusal(self, code: int) -> str:
        if code in (401, 403):
            return f"user {self._user!r} may not look: give it the tag `management`"
        if code == 404:
            return "it does not know this virtual host"
        return f"it answers {code}"

    def _open(self, path: str, headers: Mapping[str, str]) -> Any:
        request = urllib.request.Request(self.url + path, headers=dict(headers))
        return self._opener.open(request, timeout=self._timeout_s)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Leaves a redirection to be an error: it could lead the password elsewhere."""

    def redirect_request(self, *_arguments: Any, **_others: Any) -> None:
        """Return no new request."""
        return


def _words(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__

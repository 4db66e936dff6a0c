"""Settings: reading JSON and YAML files, and the MQ settings.

Knows no connection library: `bus.parameters` turns `MqSettings` into one's arguments. Secrets are masked.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import msgspec

from reworker.errors import ConfigError
from reworker.layers import Kind, Layered, flag

#: AMQP's registered ports, without and with TLS.
PORT, TLS_PORT = 5672, 5671
#: seconds between AMQP heartbeats we ask for; the broker may ask for less.
HEARTBEAT_S = 60
#: seconds between two messages of a daemon to itself.
CANARY_S = 15.0
#: bytes of a name that AMQP can carry.
NAME_LIMIT_BYTES = 255
#: keys of the MQ file.
MQ_KEYS = frozenset(
    {
        "server",
        "servers",
        "vhost",
        "user",
        "password",
        "password_file",
        "port",
        "ssl",
        "heartbeat",
        "ack_timeout",
        "canary",
        "stamp_user",
    }
)
#: environment variable that names the MQ file or URL.
MQ_VARIABLE = "REWORKER_MQ"
#: variables that name the password, so that it need not stand in a file of settings or an URL.
PASSWORD_VARIABLE, PASSWORD_FILE_VARIABLE = "REWORKER_MQ_PASSWORD", "REWORKER_MQ_PASSWORD_FILE"


class Secret(str):
    """A string whose repr hides it, so that it cannot slip into a log."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class TlsSettings(msgspec.Struct, frozen=True):
    """How to speak TLS to the broker.

    Args:
        ca: file of trusted certificates; None is the system's trust store.
        cert: file of our own certificate, for mutual TLS.
        key: file of its private key.
        verify: False accepts any certificate; for tests only.
        server_name: name that the broker's certificate has to have; None is the host that we connect to.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True
    server_name: str | None = None


class MqSettings(msgspec.Struct, frozen=True):
    """Where the broker is and who we are.

    Args:
        servers: ``host`` or ``host:port`` of each cluster member, tried in order.
        port: for servers that name none.
        vhost: virtual host.
        user: login name.
        password: its password.
        tls: None is plain TCP.
        heartbeat_s: seconds; 0 is off.
        password_file: holds the password in place of `password`, and is read for each new connection.
        canary_s: seconds between two messages of a daemon to itself, by which it sees that the broker
            delivers; 0 is none.
        ack_timeout_s: how long the broker waits for an acknowledgement; None is the default of its version.
        stamp_user: name of the sender that every message gets, in `user_id`; empty is none. The broker
            refuses any other than the user that it takes the connection for.
    """

    servers: tuple[str, ...] = ("localhost",)
    port: int = PORT
    vhost: str = "/"
    user: str = "guest"
    password: str = Secret("guest")
    tls: TlsSettings | None = None
    heartbeat_s: int = HEARTBEAT_S
    password_file: str = ""
    ack_timeout_s: float | None = None
    canary_s: float = CANARY_S
    stamp_user: str = ""

    def __repr__(self) -> str:
        return f"MqSettings({self.masked_url()!r})"

    def current_password(self) -> str:
        """Return the password that holds now.

        Raises:
            ConfigError: its file cannot be read, or is empty.
        """
        return _password_in(self.password_file) if self.password_file else self.password

    def addresses(self) -> list[tuple[str, int]]:
        """Return (host, port) of each server; an IPv6 host may stand in brackets."""
        return [_address(server, self.port) for server in self.servers]

    def masked_url(self) -> str:
        """Return the address for people and logs, without the password."""
        host, port = self.addresses()[0]
        name = f"[{host}]" if ":" in host else host
        scheme = "amqps" if self.tls else "amqp"
        vhost = "" if self.vhost == "/" else self.vhost
        return f"{scheme}://{self.user}:***@{name}:{port}/{vhost}"


#: characters of a file of settings; one without an end is a device or a mistake.
FILE_LIMIT_CHARACTERS = 1 << 20
#: how PyYAML fails beside its own errors, on dates that do not exist and on deep nesting.
_UNPARSABLE = (AttributeError, RecursionError, TypeError, ValueError)


def load_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the mapping in a JSON or YAML file; an empty file is an empty mapping.

    Raises:
        ConfigError: cannot be read, is not JSON or YAML (with the line), or holds no mapping.
    """
    name = os.fspath(path)
    try:
        with Path(name).open(encoding="utf-8-sig") as file:
            text = file.read(FILE_LIMIT_CHARACTERS + 1)
        if len(text) > FILE_LIMIT_CHARACTERS:
            raise ConfigError(f"is over the limit of {FILE_LIMIT_CHARACTERS} characters", path=name)
        value = _parsed(text)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=name) from error
    except _UNPARSABLE as error:
        raise ConfigError(f"is neither JSON nor YAML: {' '.join(str(error).split())}", path=name) from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"expected a mapping of settings, found a {type(value).__name__}", path=name)
    return {str(key): item for key, item in value.items()}


def place_in(path: str) -> Callable[[str], str]:
    """Return a function from a key of a file to ``file:line``; the file is read when it is asked."""

    def place_of(key: str) -> str:
        import yaml

        try:
            text = Path(path).read_text(encoding="utf-8-sig").replace("\t", " ")
            nodes = getattr(yaml.compose(text, Loader=yaml.SafeLoader), "value", ())
            line: int = next(name.start_mark.line for name, _ in nodes if name.value == key)
        except (OSError, StopIteration, yaml.YAMLError, *_UNPARSABLE):
            return path
        return f"{path}:{line + 1}"

    return place_of


def _parsed(text: str) -> Any:
    """JSON first: YAML refuses the tabs that JSON files may be indented with.

    Raises:
        ValueError, AttributeError, RecursionError, TypeError: it is neither.
    """
    try:
        return json.loads(text)
    except ValueError:
        import yaml  # a quarter of what a worker loads; those with JSON and a URL do without

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error


def mq_settings(
    source: str | Mapping[str, Any] | None, environ: Mapping[str, str] | None = None
) -> MqSettings:
    """Return the MQ settings from a file, an ``amqp(s)://`` URL, or the tutorial's mapping.

    Args:
        source: path, URL or mapping; None is the variable ``REWORKER_MQ``.
        environ: where variables are looked up; None is none.

    The mapping: ``{"server": str, "servers": [str], "vhost": str, "user": str, "password": str,
    "password_file": path, "port": int, "ssl": bool | {"ca", "cert", "key", "verify", "server_name"},
    "heartbeat": int, "ack_timeout": float, "canary": int, "stamp_user": bool | str}``. The variables
    ``REWORKER_MQ_PASSWORD_FILE`` and ``REWORKER_MQ_PASSWORD`` win over it.

    Raises:
        ConfigError: missing, unreadable or wrong; names key and file.
    """
    if source is None:
        source = (environ or {}).get(MQ_VARIABLE)
        if not source:
            raise ConfigError(f"no message bus is set: give --mq FILE_OR_URL or set {MQ_VARIABLE}")
    if isinstance(source, Mapping):
        settings = _mq_from_mapping(source, "mq_config")
    elif source.startswith(("amqp://", "amqps://")):
        settings = _mq_from_url(source)
    else:
        settings = _mq_from_mapping(load_mapping(source), source)
    return with_password_of(settings, environ or {})


def with_password_of(settings: MqSettings, environ: Mapping[str, str]) -> MqSettings:
    """Return the settings with the password that the environment names, if it does.

    Raises:
        ConfigError: the file that it names cannot be read.
    """
    if file := environ.get(PASSWORD_FILE_VARIABLE):
        found = _password_in(file, PASSWORD_FILE_VARIABLE)
        return msgspec.structs.replace(settings, password=found, password_file=file)
    if password := environ.get(PASSWORD_VARIABLE):
        return msgspec.structs.replace(settings, password=Secret(password), password_file="")
    return settings


def mq_mapping(source: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the mapping that `Worker` takes, from a file or an ``amqp(s)://`` URL.

    Args:
        source: path or URL; None is the variable ``REWORKER_MQ``.
        environ: where the variable is looked up.

    Raises:
        ConfigError: missing, unreadable or wrong.
    """
    name = source or environ.get(MQ_VARIABLE) or ""
    if not name or name.startswith(("amqp://", "amqps://")):
        return _mapping_of(mq_settings(name or None))
    return load_mapping(name)


def _mapping_of(settings: MqSettings) -> dict[str, Any]:
    return {
        "servers": list(settings.servers),
        "port": settings.port,
        "vhost": settings.vhost,
        "user": settings.user,
        "password": settings.password,
        "password_file": settings.password_file,
        "ssl": settings.tls is not None,
        "heartbeat": settings.heartbeat_s,
        "ack_timeout": settings.ack_timeout_s,
        "canary": int(settings.canary_s),
        "stamp_user": settings.stamp_user,
    }


def _mq_from_mapping(values: Mapping[str, Any], path: str) -> MqSettings:
    servers = values.get("servers") or values.get("server") or "localhost"
    names = [servers] if isinstance(servers, str) else servers
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"expected a host name, found {servers!r}", key="server", path=path)
    _refuse_slips(values, path)
    tls = _tls_of(values.get("ssl"), path)
    layered = Layered((path, {key: value for key, value in values.items() if value is not None}))
    port = layered.integer("port", TLS_PORT if tls else PORT, least=1)
    if port > 65535:
        raise ConfigError(f"expected a port up to 65535, found {port}", key="port", path=path)
    user = str(values.get("user") or "guest")
    settings = MqSettings(
        servers=tuple(names),
        port=port,
        vhost=str(values.get("vhost") or "/"),
        user=user,
        password=_password_of(values, path),
        tls=tls,
        heartbeat_s=layered.integer("heartbeat", HEARTBEAT_S),
        password_file=str(values.get("password_file") or ""),
        ack_timeout_s=layered.number("ack_timeout", None),
        canary_s=layered.integer("canary", int(CANARY_S)),
        stamp_user=layered.read("stamp_user", "", _stamp_of(user)),
    )
    settings.addresses()
    return settings


def _stamp_of(user: str) -> Kind:
    """Return the kind of `stamp_user`: yes is the user that logs in, any other text a name of its own."""

    def parse(value: Any) -> str:
        try:
            return user if flag().parse(value) else ""
        except ValueError:
            if isinstance(value, str) and len(value.encode()) <= NAME_LIMIT_BYTES:
                return value
            raise

    return Kind("true, false or the name of a user", parse)


def _refuse_slips(values: Mapping[str, Any], path: str) -> None:
    """Old files may hold keys of other programs; but one that looks like ours is a slip that costs an hour.

    Raises:
        ConfigError: a key is nearly one of ours.
    """
    for key in values.keys() - MQ_KEYS:
        near = difflib.get_close_matches(str(key), MQ_KEYS, 1)
        if near:
            raise ConfigError(f"unknown setting; did you mean {near[0]!r}?", key=str(key), path=path)


def _mq_from_url(url: str) -> MqSettings:
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"not an AMQP URL: {error}", key="mq") from error
    tls = TlsSettings() if parts.scheme == "amqps" else None
    query = parse_qs(parts.query)
    options = Layered(("URL", {key: values[-1] for key, values in query.items()}))
    user = unquote(parts.username or "guest")
    return MqSettings(
        servers=(_bracketed(parts.hostname or "localhost"),),
        port=port or (TLS_PORT if tls else PORT),
        vhost=unquote(parts.path[1:]) or "/",
        user=user,
        password=Secret(unquote(parts.password if parts.password is not None else "guest")),
        tls=tls,
        heartbeat_s=options.integer("heartbeat", HEARTBEAT_S),
        ack_timeout_s=options.number("ack_timeout", None),
        canary_s=options.integer("canary", int(CANARY_S)),
        stamp_user=options.read("stamp_user", "", _stamp_of(user)),
    )


def _password_of(values: Mapping[str, Any], path: str) -> Secret:
    if not values.get("password_file"):
        return Secret(values.get("password", "guest"))
    return _password_in(str(values["password_file"]), path)


def _password_in(name: str, path: str = "") -> Secret:
    try:
        text = Path(name).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"cannot read {name}: {error}", key="password_file", path=path) from error
    if not text:
        raise ConfigError(f"{name} is empty; write the password into it", key="password_file", path=path)
    return Secret(text)


def _tls_of(value: Any, path: str) -> TlsSettings | None:
    if value in (None, False):
        return None
    if value is True:
        return TlsSettings()
    try:
        return msgspec.convert(value, TlsSettings)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"expected true, false or a mapping of ca, cert, key, verify, server_name: {error}",
            key="ssl",
            path=path,
        ) from error


def _address(server: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{server}")
    try:
        port = parts.port or default_port
    except ValueError as error:
        raise ConfigError(f"{server!r} has no valid port: {error}", key="server") from error
    if not parts.hostname:
        raise ConfigError(f"{server!r} is no host name", key="server")
    return parts.hostname, port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

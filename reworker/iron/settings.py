"""Where the server is, and who asks: read in layers, as the public clients of IronWorker do.

From the weakest to the strongest: ``~/.iron.json``, variables ``IRON_*``, variables ``IRON_WORKER_*``,
``iron.json`` in the working directory, the file that is named, arguments.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from reworker.errors import ConfigError

#: where `reworker up` and `reworker web` listen.
HOST, PORT = "127.0.0.1", 8080
#: ports of the schemes, for another host.
PORTS = {"http": 80, "https": 443}
#: the project that every server has.
PROJECT = "default"
#: seconds that the server may take for an answer, or the next piece of one.
ANSWER_S = 30.0
#: a key of the settings, and what else it is called.
ALIASES = {"scheme": "protocol", "version": "api_version"}
KEYS = ("token", "project_id", "host", "port", "protocol", "api_version", "path_prefix", "cloud")
#: sections of an INI file, and part of a JSON file, that are for us; in small letters.
SECTIONS = ("iron_worker", "ironworker")
_SHAPES = {
    "host": re.compile(r"[A-Za-z0-9._-]+"),
    "path_prefix": re.compile(r"[A-Za-z0-9._~/-]*"),
    "api_version": re.compile(r"[A-Za-z0-9.]+"),
}
_FILE_ENDINGS = (".ini", ".json", ".cfg", ".conf")

#: a value and where it was read, for the errors.
Layer = dict[str, tuple[Any, str]]


@dataclass(frozen=True)
class IronSettings:
    """Where requests go.

    Args:
        token: of the server, ``rw_...``.
        project_id: id or name of a project.
        url: of the server, without a slash at its end.
        api_version: first part of every path.
        token_source: where the token was read, for people.
        timeout_s: longest wait for a piece of an answer.
    """

    token: str
    project_id: str
    url: str
    api_version: str = "2"
    token_source: str = ""
    timeout_s: float = ANSWER_S


def is_file_name(text: str, folder: Path) -> bool:
    """Tell whether a first argument names a file with settings; else it is a token."""
    return text.lower().endswith(_FILE_ENDINGS) or "/" in text or (folder / text).is_file()


def load_settings(
    arguments: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    folder: Path = Path(),
    config_file: str = "",
    timeout_s: float = ANSWER_S,
) -> IronSettings:
    """Return the settings of all layers together.

    Args:
        arguments: of the constructor; None and empty values are none.
        environ: usually ``os.environ``.
        folder: the working directory.
        config_file: an INI or JSON file; empty is none.
        timeout_s: see `IronSettings`.

    Raises:
        ConfigError: a file or a value cannot be read, or there is no token.
    """
    merged: Layer = {}
    for layer in _layers(arguments, environ, folder, config_file):
        merged.update(layer)
    return _settings(merged, timeout_s)


def _layers(
    arguments: Mapping[str, Any], environ: Mapping[str, str], folder: Path, config_file: str
) -> Iterator[Layer]:
    home = environ.get("HOME", "")
    if home:
        yield _of_json(Path(home) / ".iron.json", is_required=False)
    for prefix in ("IRON_", "IRON_WORKER_"):
        found = {
            key: environ[prefix + key.upper()] for key in (*KEYS, *ALIASES) if prefix + key.upper() in environ
        }
        yield _layer(found, lambda key, prefix=prefix: f"variable {prefix}{key.upper()}")
    yield _of_json(folder / "iron.json", is_required=False)
    if config_file:
        path = folder / config_file
        is_json = path.suffix.lower() == ".json"
        yield _of_json(path, is_required=True) if is_json else _of_ini(path)
    yield _layer(arguments, lambda key: f"argument {key}")


def _layer(found: Mapping[str, Any], source_of: Any) -> Layer:
    """Return one layer; an address in one piece comes before its parts."""
    layer: Layer = {}
    for name, value in found.items():
        key = ALIASES.get(name, name)
        if key in KEYS and value not in (None, ""):
            layer[key] = (value, source_of(name))
    if "cloud" in layer:
        layer.update(_parts_of(*layer.pop("cloud")))
    return layer


def _parts_of(cloud: Any, source: str) -> Layer:
    try:
        parts = urlsplit(str(cloud))
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{cloud!r} is no address: {error}", key="cloud", path=source) from error
    if parts.scheme not in PORTS or not host or "@" in parts.netloc:
        raise ConfigError(f"{cloud!r} is not http://HOST:PORT or https://HOST", key="cloud", path=source)
    found = {
        "protocol": parts.scheme,
        "host": host,
        "port": port or PORTS[parts.scheme],
        "path_prefix": parts.path,
    }
    return {key: (value, source) for key, value in found.items()}


def _text(path: Path, *, is_required: bool) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        if not is_required:
            return ""
        raise ConfigError("there is no such file with settings", path=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"it cannot be read: {error}", path=str(path)) from error


def _of_json(path: Path, *, is_required: bool) -> Layer:
    text = _text(path, is_required=is_required)
    if not text.strip() and not is_required:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"it is no JSON: {error}", path=str(path)) from error
    if not isinstance(found, dict):
        raise ConfigError("it is no JSON object", path=str(path))
    own = [part for name, part in found.items() if name.lower() in SECTIONS and isinstance(part, dict)]
    flat = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
    for part in own:
        flat.update(part)
    return _layer(flat, lambda _: str(path))


def _of_ini(path: Path) -> Layer:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(_text(path, is_required=True), str(path))
    except configparser.Error as error:
        raise ConfigError(f"it is no INI file: {error.message}", path=str(path)) from error
    names = [name for name in parser.sections() if name.lower() in SECTIONS]
    if not names:
        raise ConfigError("it has no section [iron_worker]", path=str(path))
    flat: dict[str, str] = {}
    for name in names:
        flat.update(parser[name])
    return _layer(flat, lambda _: str(path))


def _settings(merged: Layer, timeout_s: float) -> IronSettings:
    token, token_source = merged.get("token", ("", ""))
    if not token:
        raise ConfigError(
            "there is none: give one as argument, in config.ini or iron.json, or in IRON_TOKEN; "
            "`reworker token create` makes one",
            key="token",
        )
    return IronSettings(
        token=_checked_token(token, token_source),
        project_id=str(merged.get("project_id", (PROJECT, ""))[0]).strip(),
        url=_url(merged),
        api_version=_checked("api_version", *merged.get("api_version", ("2", ""))),
        token_source=token_source,
        timeout_s=timeout_s,
    )


def _checked_token(token: Any, source: str) -> str:
    text = str(token).strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(
            "that is no token: it has blanks or letters that none has; put in your own",
            key="token",
            path=source,
        )
    return text


def _url(merged: Layer) -> str:
    host = _checked("host", *merged.get("host", (HOST, "")))
    is_here = _is_loopback(host)
    protocol, source = merged.get("protocol", ("http" if is_here else "https", ""))
    protocol = str(protocol).lower()
    if protocol not in PORTS:
        raise ConfigError(f"http or https, found {protocol!r}", key="protocol", path=source)
    usual = PORT if is_here and protocol == "http" else PORTS[protocol]
    port = _checked_port(*merged.get("port", (usual, "")))
    prefix = _checked("path_prefix", *merged.get("path_prefix", ("", ""))).strip("/")
    place = f"[{host}]" if ":" in host else host
    return f"{protocol}://{place}:{port}" + (f"/{prefix}" if prefix else "")


def _checked(key: str, value: Any, source: str) -> str:
    """Return the text of a value that becomes part of an address."""
    text = str(value).strip()
    if not _SHAPES[key].fullmatch(text) and not (key == "host" and _is_address(text)):
        hint = "; a port is a setting of its own" if key == "host" and ":" in text else ""
        raise ConfigError(f"{text!r} cannot stand in an address{hint}", key=key, path=source)
    return text


def _checked_port(port: Any, source: str) -> int:
    try:
        number = int(port)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < 65536:
        raise ConfigError(f"1 to 65535, found {port!r}", key="port", path=source)
    return number


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

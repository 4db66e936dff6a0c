"""A plugin's own settings: from the mapping in its file to a struct whose every value is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from reworker.config import Secret
from reworker.errors import ConfigError
from reworker.jobs.settings import PROPERTIES
from reworker.jobs.steps import suggestion

if TYPE_CHECKING:
    import ssl

T = TypeVar("T", bound=msgspec.Struct)

#: how msgspec ends a complaint about a value that is not at the top.
_PLACE = re.compile(r" - at `(?:key` in `)?\$\.?(?P<place>[^`]*)`$")
#: how it complains about a key, which it takes for a part of the mapping that holds it.
_FIELD = re.compile(r"Object (?P<kind>contains unknown|missing required) field `(?P<name>[^`]*)`")
#: how it writes a key of a mapping with free keys.
_ANY_KEY = "[...]"


def own_settings(kind: type[T], config: Mapping[str, Any], path: str = "") -> T:
    """Return a worker's own settings as a struct; keys that every worker may have are left out.

    Args:
        kind: with ``forbid_unknown_fields=True`` a misspelt key is an error. A rule that no type can say
            goes into its `__post_init__`, which raises ValueError.
        config: content of the worker's file.
        path: name of that file.

    Raises:
        ConfigError: a value is missing, unknown or wrong; names key and file.
        TypeError: the struct has a key that every worker has; a bug of the plugin.
    """
    taken = {one.encode_name for one in msgspec.structs.fields(kind)} & set(PROPERTIES)
    if taken:
        raise TypeError(
            f"{kind.__name__}: every worker has the setting {', '.join(sorted(taken))}; rename yours"
        )
    values = {key: value for key, value in config.items() if key not in PROPERTIES}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        key, reason = _complaint(kind, values, str(error))
        raise ConfigError(reason, key=key, path=path) from error


def secret_of(value: str | None, file: str | None) -> str | None:
    """Return a secret that settings give, or the content of the file that they name; None is no secret.

    Raises:
        ValueError: the file cannot be read or is empty, or both are given.
    """
    if file is None:
        return None if value is None else Secret(value)
    if value is not None:
        raise ValueError("give the secret or the name of its file, not both")
    try:
        text = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"cannot read the secret: {error}") from error
    if not text:
        raise ValueError(f"the file {file} holds no secret")
    return Secret(text)


def tls_context(ca: str | None = None) -> ssl.SSLContext:
    """Return how to speak TLS as a client: version 1.2 or newer, name and certificate checked.

    Args:
        ca: file of trusted certificates; None is the system's.

    Raises:
        ValueError: the file cannot be used.
    """
    import ssl  # most plugins need none of it, and start faster without

    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"cannot use the certificates in {ca}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _complaint(kind: type[T], values: Mapping[str, Any], text: str) -> tuple[str, str]:
    """Return (key, reason) of what msgspec says about the values."""
    found = _PLACE.search(text)
    place, reason = (found["place"], text[: found.start()]) if found else ("", text)
    if _ANY_KEY in place:
        place = _with_name(kind, values, text, place)
    field = _FIELD.match(reason)
    if field is None:
        return place, reason
    known = [] if place else [one.encode_name for one in msgspec.structs.fields(kind)]
    is_unknown = field["kind"] == "contains unknown"
    reason = f"unknown setting{suggestion(field['name'], known)}" if is_unknown else "is missing"
    return f"{place}.{field['name']}".lstrip("."), reason


def _with_name(kind: type[T], values: Mapping[str, Any], text: str, place: str) -> str:
    """Put the name of the entry that is wrong into its place: try the entries one by one."""
    top, _, rest = place.partition(_ANY_KEY)
    entries = values.get(top)
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        try:
            msgspec.convert({**values, top: {name: entry}}, kind)
        except msgspec.ValidationError as error:
            if str(error) == text:
                return f"{top}.{name}{rest}"
    return place

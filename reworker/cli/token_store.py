"""Where the tokens for servers are kept: a variable, a file that only its owner may read, or the keyring."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reworker.errors import ConfigError

VARIABLE = "REWORKER_TOKEN"
#: what the keyring knows us by.
SERVICE = "reworker"
#: who may read and write the file: its owner.
OWNER_ONLY = 0o600


def token_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the file: ``{"https://server": "rw_..."}``."""
    folder = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".config")
    return Path(folder) / "reworker" / "tokens.json"


def token_for(server: str, environ: Mapping[str, str]) -> str:
    """Return the token for a server.

    Args:
        server: its address, as it was given to `keep_token`.
        environ: usually ``os.environ``; its variable comes before the file, the file before the keyring.

    Raises:
        ConfigError: there is none, or the file may be read by others.
    """
    found = environ.get(VARIABLE) or _kept(token_file(environ)).get(server) or _of_keyring(server)
    if not found:
        raise ConfigError(
            f"there is no token for {server}: say `reworker login --server {server}`, or set {VARIABLE}",
            key="--server",
        )
    return found


def keep_token(server: str, token: str, environ: Mapping[str, str], *, in_keyring: bool = False) -> str:
    """Keep a token, in place of the one there was; return where, in words.

    Raises:
        ConfigError: the file cannot be written; or the keyring is asked for and not installed or locked.
    """
    if in_keyring:
        _keyring().set_password(SERVICE, server, token)
        return "the keyring"
    path = token_file(environ)
    _write(path, {**_kept(path), server: token})
    return str(path)


def drop_token(server: str, environ: Mapping[str, str]) -> bool:
    """Forget a token; tell whether there was one."""
    path = token_file(environ)
    kept = _kept(path)
    was_kept = kept.pop(server, None) is not None
    if was_kept:
        _write(path, kept)
    if not _of_keyring(server):
        return was_kept
    _keyring().delete_password(SERVICE, server)
    return True


def _kept(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from error
    if mode & 0o077:
        reason = f"others may read it (mode {mode:04o}) and it holds tokens: chmod 600 {path}"
        raise ConfigError(reason, path=str(path))
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}", path=str(path)) from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise ConfigError("is not an object of tokens by server", path=str(path))
    return found


def _write(path: Path, tokens: Mapping[str, str]) -> None:
    """Write the file whole or not at all; it is never there with another mode."""
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".tokens")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, OWNER_ONLY)
            json.dump(dict(tokens), file, indent=2)
            file.write("\n")
        Path(name).replace(path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(path)) from error


def _of_keyring(server: str) -> str:
    """Return the token in the keyring, if there is a keyring and it has one."""
    try:
        return _keyring().get_password(SERVICE, server) or ""
    except Exception:  # noqa: BLE001  # not installed, locked, no session: then it has none for us
        return ""


def _keyring() -> Any:
    try:
        import keyring
    except ImportError as error:
        raise ConfigError("the keyring needs the package keyring: install reworker[keyring]") from error
    return keyring

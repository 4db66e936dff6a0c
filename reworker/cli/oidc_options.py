"""Options of the login through OpenID Connect; its secret is never among them, only the file it is in."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reworker.config import Secret
from reworker.errors import ConfigError

if TYPE_CHECKING:
    from reworker.web.oidc.settings import OidcSettings

#: environment variable with the secret; a file is better: others cannot see it in the list of processes.
SECRET_VARIABLE = "REWORKER_OIDC_CLIENT_SECRET"
#: bytes of a file that can be a secret.
SECRET_BYTES = 4096
#: option -> what stands for its value, what it says in the help.
OPTIONS = {
    "oidc_issuer": ("URL", "Provider of identities that logs people in, by OpenID Connect."),
    "oidc_client_id": ("NAME", "How the provider knows this server."),
    "oidc_client_secret_file": ("FILE", f"File with the secret for the provider; or {SECRET_VARIABLE}."),
    "oidc_name_claim": ("CLAIM", "Claim that names a person.  [default: preferred_username, email or sub]"),
    "oidc_groups_claim": ("CLAIM", "Claim with the groups of a person.  [default: groups]"),
    "oidc_groups_file": ("FILE", "YAML file: what people of which group may do."),
    "public_url": ("URL", "Our own origin as browsers see it; the provider sends people back there."),
}
_NEEDED = ("oidc_client_id", "oidc_groups_file", "public_url")


def oidc_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options, which become ``oidc``: the settings, or None."""

    @wraps(function)
    def command(**rest: Any) -> Any:
        return function(oidc=oidc_settings({name: rest.pop(name) or "" for name in OPTIONS}), **rest)

    made: Callable[..., Any] = command
    for name, (metavar, text) in reversed(OPTIONS.items()):
        option = "--" + name.replace("_", "-")
        made = click.option(option, name, metavar=metavar, envvar=f"REWORKER_{name.upper()}", help=text)(made)
    return made


def oidc_settings(said: dict[str, str]) -> OidcSettings | None:
    """Return the settings that options and environment make together; None when no provider is named.

    Raises:
        ConfigError: one is missing, or makes no sense.
    """
    if not said["oidc_issuer"]:
        if stray := [name for name in OPTIONS if said[name]]:
            raise ConfigError(
                "is missing, so nobody could log in with the rest", key=f"oidc_issuer (with {stray[0]})"
            )
        return None
    for name in _NEEDED:
        if not said[name]:
            raise ConfigError("is missing; a login through OpenID Connect needs it", key=name)
    from reworker.web.oidc.settings import GROUPS_CLAIM, OidcSettings, load_grants

    return OidcSettings(
        issuer=said["oidc_issuer"],
        client_id=said["oidc_client_id"],
        public_url=said["public_url"],
        grants=load_grants(said["oidc_groups_file"]),
        client_secret=_secret(said["oidc_client_secret_file"]),
        name_claim=said["oidc_name_claim"],
        groups_claim=said["oidc_groups_claim"] or GROUPS_CLAIM,
    )


def _secret(path: str) -> Secret:
    """Return the secret of the file, or of the environment; empty is a client without one."""
    if not path:
        return Secret(os.environ.get(SECRET_VARIABLE, ""))
    try:
        found = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", key="oidc_client_secret_file", path=path) from error
    if not 1 <= len(found) <= SECRET_BYTES or not found.isascii() or not found.isprintable():
        reason = "holds no secret: one line of letters that can be seen"
        raise ConfigError(reason, key="oidc_client_secret_file", path=path)
    return Secret(found)

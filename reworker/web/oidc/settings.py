"""Settings of the login through OpenID Connect, and what people of a group may do."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import msgspec

from reworker.config import Secret, load_mapping
from reworker.core.principal import Limits, Scope
from reworker.core.tokens import require_grantable
from reworker.errors import ConfigError
from reworker.web.settings import WebSettings, is_loopback

#: claim of a person's groups, unless another one is named.
GROUPS_CLAIM = "groups"
#: path on our own origin to which the provider sends people back.
CALLBACK_PATH = "/oidc/callback"
#: seconds that a person may take at the provider.
ATTEMPT_S = 600


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What people of a group may do, and where."""

    scopes: tuple[Scope, ...]
    limits: Limits = Limits()


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom we ask who somebody is, and what we make of the answer.

    Args:
        issuer: URL of the provider, as it names itself.
        client_id: how it knows us.
        public_url: our own origin as browsers see it; people come back to `CALLBACK_PATH` there.
        grants: group -> what its people may do; the first one that fits counts, alone.
        client_secret: empty for a client without one, which PKCE alone protects.
        name_claim: claim that names a person; empty is `preferred_username`, else an address that was
            verified, else `sub`.
        groups_claim: claim with the groups of a person.
    """

    issuer: str
    client_id: str
    public_url: str
    grants: dict[str, Grant]
    client_secret: Secret = Secret("")
    name_claim: str = ""
    groups_claim: str = GROUPS_CLAIM

    def __post_init__(self) -> None:
        if not self.client_id.strip():
            raise ConfigError(
                "is how the provider knows us; it gives one for each application", key="oidc_client_id"
            )
        _require_safe(self.issuer, "oidc_issuer")
        if urlsplit(self.issuer).query:
            raise ConfigError(f"{self.issuer!a} has a query; give the provider's issuer", key="oidc_issuer")
        _require_safe(self.public_url, "public_url")
        parts = urlsplit(self.public_url)
        if parts.path.strip("/") or parts.query:
            reason = (
                f"{self.public_url!a} has a path; give the origin alone, such as https://deploy.example.org"
            )
            raise ConfigError(reason, key="public_url")

    def require_fits(self, web: WebSettings) -> None:
        """Refuse settings of the HTTP side under which logins would be unsafe or of no use.

        Raises:
            ConfigError: they do not go together.
        """
        if not web.has_auth:
            raise ConfigError(
                "nobody logs in while authentication is off; leave one of them out", key="oidc_issuer"
            )
        if self.is_https and not web.has_secure_cookies:
            reason = "is https, so cookies have to be for HTTPS only: add --behind-tls, or a certificate"
            raise ConfigError(reason, key="public_url")

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to: our own origin, and nowhere else."""
        return self.public_url.rstrip("/") + CALLBACK_PATH

    @property
    def is_https(self) -> bool:
        """Whether browsers come over HTTPS."""
        return self.public_url.startswith("https://")


def load_grants(path: str | os.PathLike[str]) -> dict[str, Grant]:
    """Return what people of which group may do.

    Args:
        path: of a YAML file, ``GROUP: {scopes: [...], limits: {groups, environments, hosts}}``.

    Raises:
        ConfigError: it cannot be read, or makes no sense.
    """
    values = load_mapping(path)
    if not values:
        raise ConfigError("names no group, so nobody could do anything", path=str(path))
    return {name: _grant(name, value, str(path)) for name, value in values.items()}


def _grant(name: str, value: object, path: str) -> Grant:
    try:
        grant = msgspec.convert(value, Grant)
        require_grantable(grant.scopes, grant.limits, None)
    except (msgspec.ValidationError, ConfigError) as error:
        reason = f"{error}; a group has scopes ({', '.join(Scope)}) and may have limits"
        raise ConfigError(reason, key=str(name)[:100], path=path) from error
    return grant


def _require_safe(url: str, key: str) -> None:
    """Refuse an address over which others could read what is said; this machine may talk to itself."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"{url[:200]!a} is no URL: {error}", key=key) from error
    is_plain = parts.scheme == "http" and is_loopback(host)
    if not host or "@" in parts.netloc or parts.fragment or not (parts.scheme == "https" or is_plain):
        raise ConfigError(
            f"takes an https:// URL (http:// on this machine only), found {url[:200]!a}", key=key
        )

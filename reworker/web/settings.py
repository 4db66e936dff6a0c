"""Settings of the HTTP side."""

from __future__ import annotations

import ipaddress

import msgspec

from reworker.errors import ConfigError
from reworker.web.conductor.settings import ConductorSettings

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
#: names of this machine for itself.
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class WebSettings(msgspec.Struct, frozen=True):
    """How the HTTP side listens and whom it trusts.

    Args:
        host: address to listen at.
        port: 0 takes a free one; -1 the usual one, or a free one when it is taken.
        has_auth: without it everybody is an administrator, and only this machine may ask.
        tls_certificate: PEM file of the certificate and its chain; empty is no TLS of our own.
        tls_key: PEM file of its key.
        is_tls: the outside speaks HTTPS with us or with a server before us: cookies are for HTTPS only.
        trusted_proxies: addresses whose ``X-Forwarded-For`` and `remote_user_header` are believed.
        remote_user_header: header in which a trusted server names the person it has let in; empty is none.
        allowed_hosts: names under which the outside knows us; empty is any.
        conductor: serves workers that speak Conductor's HTTP; None serves none.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    has_auth: bool = True
    tls_certificate: str | None = None
    tls_key: str | None = None
    is_tls: bool = False
    trusted_proxies: tuple[str, ...] = ()
    remote_user_header: str = ""
    allowed_hosts: tuple[str, ...] = ()
    conductor: ConductorSettings | None = None

    def __post_init__(self) -> None:
        if not self.has_auth and not is_loopback(self.host):
            reason = (
                f"{self.host} can be reached from other machines, and authentication is off: anybody could "
                f"start deployments. Listen at {DEFAULT_HOST}, or leave authentication on"
            )
            raise ConfigError(reason, key="host")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ConfigError("a certificate and its key go together", key="tls_certificate")
        if self.remote_user_header and not self.trusted_proxies:
            reason = "anybody could name himself with this header: say which servers are trusted to set it"
            raise ConfigError(reason, key="remote_user_header")

    @property
    def has_secure_cookies(self) -> bool:
        """Whether browsers come over HTTPS, to us or to a server before us."""
        return self.is_tls or self.tls_certificate is not None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

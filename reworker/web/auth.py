"""Who asks: by the token in a header, or by the cookie of a browser; and which requests are not believed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import NoReturn
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from reworker.core.principal import Principal, Scope
from reworker.errors import NotAuthenticated
from reworker.web.context import Site
from reworker.web.errors import HttpProblem
from reworker.web.settings import LOOPBACK_NAMES

#: name of the cookie; with TLS it is bound to the host.
COOKIE, SECURE_COOKIE = "reworker", "__Host-reworker"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: who asks while authentication is off.
LOCAL = Principal("", "local", frozenset({Scope.ADMIN}))
_HOW = "send the token as `Authorization: Bearer rw_...`"

#: finds the token in a request, or None.
Scheme = Callable[[Request], str | None]


def bearer(request: Request) -> str | None:
    """Return the token of ``Authorization: Bearer``."""
    return authorization(request, "bearer")


def basic_password(request: Request) -> str | None:
    """Return the password of ``Authorization: Basic``; the user's name is not looked at."""
    text = authorization(request, "basic")
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def authorization(request: Request, scheme: str) -> str | None:
    """Return what stands behind a scheme in the header ``Authorization``."""
    found, _, rest = request.headers.get("authorization", "").partition(" ")
    return rest.strip() if found.lower() == scheme else None


async def principal_of(
    site: Site, request: Request, schemes: Sequence[Scheme] = (bearer,), *, takes_cookie: bool = True
) -> Principal:
    """Return who asks.

    Args:
        site: whose tokens count.
        request: of the client.
        schemes: where its dialect puts the token; the first that finds one counts.
        takes_cookie: a browser that has logged in counts, too.

    Raises:
        NotAuthenticated: nobody we know.
        HttpProblem: the request comes from another site than ours.
    """
    require_known_host(site, request)
    address = address_of(site, request)
    if not site.settings.has_auth:
        require_same_site(request)
        return Principal(LOCAL.token_id, LOCAL.name, LOCAL.scopes, source_ip=address)
    for scheme in schemes:
        token = scheme(request)
        if token is not None:
            return await run_in_threadpool(site.access.principal_of, token, address)
    cookie = request.cookies.get(cookie_name(site)) if takes_cookie else None
    if not cookie:
        raise NotAuthenticated(f"there is no token in the request; {_HOW}")
    require_same_site(request)
    return await run_in_threadpool(site.access.principal_of_session, cookie, address)


def cookie_name(site: Site) -> str:
    """Return the name of our cookie."""
    return SECURE_COOKIE if site.settings.has_secure_cookies else COOKIE


def require_same_site(request: Request) -> None:
    """Refuse a change that a page of another site has sent with our cookie.

    Raises:
        HttpProblem: 403 it comes from another site.
    """
    if request.method in SAFE_METHODS:
        return
    refuse_other_sites(request)
    names = ("sec-fetch-site", "origin")
    if "cookie" in request.headers and not any(name in request.headers for name in names):
        _refuse_site()


def refuse_other_sites(request: Request) -> None:
    """Refuse a change that says itself that a page of another site has sent it; programs say nothing.

    Raises:
        HttpProblem: 403 it comes from another site.
    """
    if request.method not in SAFE_METHODS:
        refuse_pages_of_others(request)


def refuse_pages_of_others(request: Request) -> None:
    """Refuse what says itself that a page of another site has sent it, whatever its method.

    Raises:
        HttpProblem: 403 it comes from another site.
    """
    fetch_site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        _refuse_site()
    if origin is not None and _place_in(origin) != request.headers.get("host", "").lower():
        _refuse_site()


def _place_in(origin: str) -> str | None:
    """Return host and port of an origin; None when it has none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _refuse_site() -> NoReturn:
    reason = "the request does not come from a page of this server; programs send a token instead"
    raise HttpProblem(403, "cross-site", reason)


def require_known_host(site: Site, request: Request) -> None:
    """Refuse names that are not ours: a foreign page could have its own name point at this machine.

    Raises:
        HttpProblem: 421 the name is not ours.
    """
    host = request.headers.get("host", "").lower()
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    allowed = site.settings.allowed_hosts
    if not site.settings.has_auth:
        allowed = (*allowed, *LOOPBACK_NAMES)
    if allowed and name not in allowed:
        raise HttpProblem(421, "unknown-host", f"this server is not called {name[:100]!a}")


def address_of(site: Site, request: Request) -> str:
    """Return the address of the client, as far as it can be believed."""
    peer = request.client.host if request.client else ""
    if peer in site.settings.trusted_proxies:
        # what stands before the last comma, or in a header before the last one, is what the client says
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
        return forwarded[:60] or peer
    return peer

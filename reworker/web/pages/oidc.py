"""Logging in through a provider of identities: to it, and back from it."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from reworker.core.access import SESSION_HOURS
from reworker.errors import Forbidden, LoginFailed, ProviderAway
from reworker.web.auth import address_of, cookie_name
from reworker.web.errors import HttpProblem
from reworker.web.oidc.settings import ATTEMPT_S, CALLBACK_PATH
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import own_path, page, set_cookie
from reworker.web.pages.visits import Visit

if TYPE_CHECKING:
    from reworker.web.oidc.login import OidcLogin

BEGIN_PATH = "/oidc/login"
#: cookie of a login that has begun; with TLS it is bound to the host.
ATTEMPT_COOKIE, SECURE_ATTEMPT_COOKIE = "reworker_login", "__Host-reworker_login"
_HOUR_S = 3600


def _begin(visit: Visit) -> Response:
    """Send the browser to the provider; a link, as no form may lead to another host."""
    where = own_path(visit.query("next"))
    try:
        url, kept = _login(visit).begin(where)
    except LoginFailed as error:
        return _failed(visit, error, where)
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    set_cookie(visit, response, _cookie_name(visit), kept, age_s=ATTEMPT_S)
    return response


def _end(visit: Visit) -> Response:
    """Log the browser in that the provider has sent back."""
    login, said = _login(visit), visit.request.query_params
    kept = visit.request.cookies.get(_cookie_name(visit), "")
    try:
        person, where = login.finish({name: said.getlist(name) for name in said}, kept)
        secret = visit.site.access.open_person_session(person, address_of(visit.site, visit.request))
    except (LoginFailed, Forbidden) as error:
        response = _failed(visit, error)
    else:
        response = RedirectResponse(own_path(where), HTTPStatus.SEE_OTHER)
        set_cookie(visit, response, cookie_name(visit.site), secret, age_s=SESSION_HOURS * _HOUR_S)
    is_secure = visit.site.settings.has_secure_cookies
    response.delete_cookie(_cookie_name(visit), path="/", secure=is_secure, httponly=True, samesite="lax")
    return response


def _login(visit: Visit) -> OidcLogin:
    if visit.site.oidc is None:
        reason = "this server knows no provider of identities; log in with a token"
        raise HttpProblem(HTTPStatus.NOT_FOUND, "no-such-address", reason)
    return visit.site.oidc


def _cookie_name(visit: Visit) -> str:
    return SECURE_ATTEMPT_COOKIE if visit.site.settings.has_secure_cookies else ATTEMPT_COOKIE


def _failed(visit: Visit, error: Exception, where: str = "/") -> Response:
    """Say why nobody is logged in, where one can try again or use a token."""
    status, problem = HTTPStatus.UNAUTHORIZED, str(error)
    if isinstance(error, ProviderAway):
        status = HTTPStatus.BAD_GATEWAY
        problem = f"The provider cannot be asked who you are; a token logs in as ever. {error}"
    elif isinstance(error, Forbidden):
        status = HTTPStatus.FORBIDDEN
    return page(visit, "login.html", status=status, next=where, problem=problem)


ROUTES = (
    page_route(BEGIN_PATH, _begin, needs=None),
    page_route(CALLBACK_PATH, _end, needs=None),
)

"""Logging in and out, the link of the first start, and the colours a person likes."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from reworker.core.access import SESSION_HOURS
from reworker.errors import NotAuthenticated
from reworker.web.auth import address_of, cookie_name
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import THEME_COOKIE, THEMES, own_path, page, see_other, set_cookie
from reworker.web.pages.visits import Visit

_HOUR_S = 3600
#: seconds for which the choice of colours is kept: a year.
THEME_S = 365 * 24 * _HOUR_S
#: characters of what is typed as a token that are looked at.
TOKEN_CHARACTERS = 200


def _login_form(visit: Visit) -> Response:
    if not visit.site.settings.has_auth:
        return see_other(visit, "/")
    return page(visit, "login.html", next=own_path(visit.query("next")), problem="")


def _log_in(visit: Visit) -> Response:
    where, text = own_path(visit.form.text("next")), visit.form.text("token").strip()
    address = address_of(visit.site, visit.request)
    try:
        cookie = visit.site.access.open_session(text[:TOKEN_CHARACTERS], address)
    except NotAuthenticated as error:
        return page(visit, "login.html", status=HTTPStatus.UNAUTHORIZED, next=where, problem=str(error))
    return _with_session(visit, RedirectResponse(where, HTTPStatus.SEE_OTHER), cookie)


def _with_session(visit: Visit, response: Response, cookie: str) -> Response:
    set_cookie(visit, response, cookie_name(visit.site), cookie, age_s=SESSION_HOURS * _HOUR_S)
    return response


def _log_out(visit: Visit) -> Response:
    name = cookie_name(visit.site)
    if visit.site.settings.has_auth:
        visit.site.access.close_session(visit.request.cookies.get(name, ""))
    response = see_other(visit, "/login", "You are logged out.", "note")
    response.delete_cookie(
        name, path="/", secure=visit.site.settings.has_secure_cookies, httponly=True, samesite="lax"
    )
    return response


def _link_form(visit: Visit) -> Response:
    """Show a button: a program that only looks at links, as those for chats do, must not use this one up."""
    return page(visit, "link.html", secret=visit.path("secret"), text="")


def _use_link(visit: Visit) -> Response:
    try:
        first = visit.site.access.use_link(visit.path("secret"), address_of(visit.site, visit.request))
    except NotAuthenticated:
        problem = "The link has been used or has expired, or there is an admin token already."
        return page(visit, "login.html", status=HTTPStatus.UNAUTHORIZED, next="/", problem=problem)
    response = page(visit, "link.html", secret="", text=first.text)
    return _with_session(visit, response, first.cookie)


def _choose_theme(visit: Visit) -> Response:
    response = see_other(visit, own_path(visit.form.text("next")))
    theme = visit.form.text("theme")
    if theme in THEMES:
        set_cookie(visit, response, THEME_COOKIE, theme, age_s=THEME_S)
    else:
        response.delete_cookie(THEME_COOKIE)
    return response


ROUTES = (
    page_route("/login", _login_form, _log_in, needs=None),
    page_route("/login/{secret}", _link_form, _use_link, needs=None),
    page_route("/logout", act=_log_out, needs=None),
    page_route("/theme", act=_choose_theme, needs=None),
)

"""Pages from templates: everything that was stored is text in them, and never part of the page itself."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from reworker.core.principal import Principal, Scope
from reworker.errors import NotAuthenticated, StorageError
from reworker.web.auth import LOCAL, address_of, cookie_name
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem, logged_problem, shown_path
from reworker.web.pages import words
from reworker.web.pages.assets import asset_url
from reworker.web.pages.visits import NOBODY, Visit

TEMPLATES = Path(__file__).parent.parent / "templates"
#: cookies for the message on the next page, and for the colours a person has chosen.
FLASH_COOKIE, THEME_COOKIE = "reworker_flash", "reworker_theme"
THEMES = ("light", "dark")
#: seconds within which the next page has to show a message; characters of it.
FLASH_S, FLASH_CHARACTERS = 60, 600
#: characters of an address that are shown when nothing is there.
PATH_CHARACTERS = 200

#: key behind ``g`` -> address, name and scope of a page, in the order of the navigation.
NAVIGATION = (
    ("n", "/", "Now", Scope.READ),
    ("d", "/deployments", "Deployments", Scope.READ),
    ("p", "/playbooks", "Playbooks", Scope.READ),
    ("w", "/workers", "Workers", Scope.READ),
    ("t", "/tasks", "Tasks", Scope.READ),
    ("a", "/admin", "Admin", Scope.ADMIN),
)


class Flash(msgspec.Struct, frozen=True):
    """A message that the next page shows once; `kind` is done, failed or note."""

    kind: str
    text: str


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=words.visible,
    )
    made.filters.update(words.FILTERS)
    made.globals.update(asset=asset_url, Scope=Scope)
    return made


ENVIRONMENT = _environment()


def page(visit: Visit, template: str, /, *, status: int = 200, **values: Any) -> Response:
    """Return a page.

    A browser that has just this page already is told so (304): pages that follow what happens ask every few
    seconds. So a page must not hold what changes by itself, such as ages; `app.js` adds those.

    Args:
        visit: what it answers.
        template: file in `TEMPLATES`.
        status: of HTTP.
        values: for the template, beside those that every page has: see `_common`.
    """
    flash = _flash(visit.request)
    text = ENVIRONMENT.get_template(template).render(
        **_common(visit.site, visit.request, visit.who), flash=flash, **values
    )
    body = text.encode("utf-8", "replace")
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    if status == HTTPStatus.OK and visit.request.headers.get("if-none-match") == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    response = Response(body, status, media_type="text/html", headers={"ETag": tag})
    if flash is not None:
        response.delete_cookie(FLASH_COOKIE)
    return response


def _common(site: Site, request: Request, who: Principal) -> dict[str, Any]:
    """Return the values that every page has."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return {
        "who": who,
        "has_auth": site.settings.has_auth,
        "provider": site.oidc.provider_name if site.oidc else "",
        "is_known": bool(who.scopes),
        "navigation": [
            (key, url, name, _is_at(request.url.path, url))
            for key, url, name, scope in NAVIGATION
            if who.may(scope)
        ],
        "here": _here(request),
        "theme": theme if theme in THEMES else "",
    }


def _is_at(path: str, url: str) -> bool:
    return path == url or (url != "/" and path.startswith(f"{url}/"))


def _here(request: Request) -> str:
    """Return the address of this page, for forms that come back to it; that of a form is not a page."""
    if request.method not in ("GET", "HEAD"):
        return "/"
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def see_other(
    visit: Visit, url: str, text: str = "", kind: str = "done", *, query: dict[str, str] | None = None
) -> Response:
    """Send the browser to a page after something was done, which shows this text once.

    Args:
        visit: what it answers.
        url: path of ours.
        text: message, or empty for none.
        kind: done, failed or note.
        query: names and values to put behind the path.
    """
    if query:
        url += "?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in query.items())
    response = RedirectResponse(url, HTTPStatus.SEE_OTHER)
    if text:
        value = urlsafe_b64encode(msgspec.json.encode(Flash(kind, text[:FLASH_CHARACTERS]))).decode("ascii")
        set_cookie(visit, response, FLASH_COOKIE, value, age_s=FLASH_S)
    return response


def set_cookie(visit: Visit, response: Response, name: str, value: str, *, age_s: int) -> None:
    """Keep something in the browser that only we get to read, and only on requests from our own pages."""
    response.set_cookie(
        name,
        value,
        max_age=age_s,
        path="/",
        httponly=True,
        samesite="lax",
        secure=visit.site.settings.has_secure_cookies,
    )


def _flash(request: Request) -> Flash | None:
    value = request.cookies.get(FLASH_COOKIE)
    if not value or "x-live" in request.headers:
        return None
    try:
        return msgspec.json.decode(urlsafe_b64decode(value), type=Flash)
    except (ValueError, msgspec.MsgspecError):
        return None


def own_path(text: str, default: str = "/") -> str:
    """Return a path that a browser sent, if it leads to a page of ours; else the default."""
    is_ours = text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_ours and text.isprintable() and "\\" not in text else default


def login_url(request: Request) -> str:
    """Return the address of the login, which comes back to the page that was asked for."""
    here = _here(request)
    return "/login" if here == "/" else f"/login?next={quote(here, safe='')}"


def error_page(request: Request, error: Exception) -> Response:
    """Return the page about an error, with its status."""
    problem = _found_out(request, logged_problem(request, error), error)
    site = site_of(request)
    visit = Visit(site, _visitor(site, request), request)
    try:
        title = HTTPStatus(problem.status).phrase
    except ValueError:
        title = "Error"
    near = _near(request.url.path) if problem.status == HTTPStatus.NOT_FOUND else None
    response = page(visit, "error.html", status=problem.status, problem=problem, title=title, near=near)
    response.headers.update(problem.headers)
    return response


def _found_out(request: Request, problem: HttpProblem, error: Exception) -> HttpProblem:
    """Return a problem that says what was looked for, where only an address was."""
    if not isinstance(error, HTTPException) or problem.status != HTTPStatus.NOT_FOUND:
        return problem
    shown = shown_path(request)[:PATH_CHARACTERS]
    reason = f"There is no page {shown}. The address may be mistyped or cut short, or what it led to is gone."
    return HttpProblem(problem.status, problem.name, reason, headers=problem.headers)


def _near(path: str) -> tuple[str, str] | None:
    """Return address and name of the page above what was looked for; None is the first page."""
    for _, url, name, _ in NAVIGATION[1:]:
        if path == url or path.startswith(f"{url}/"):
            return url, name
    return None


def _visitor(site: Site, request: Request) -> Principal:
    """Return who sees an error, as far as it can be known."""
    if not site.settings.has_auth:
        return LOCAL
    try:
        cookie = request.cookies.get(cookie_name(site), "")
        return site.access.principal_of_session(cookie, address_of(site, request))
    except (NotAuthenticated, StorageError):
        return NOBODY

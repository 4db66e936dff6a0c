"""The routes of pages: who may see one and act on it, and what answers.

Every page is a GET that shows; every action is a POST of a form that answers with a redirect (303), so that a
reload repeats nothing. Without JavaScript all of it works.
"""

from __future__ import annotations

from contextlib import closing
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from reworker.core.principal import Principal, Scope
from reworker.errors import NotAuthenticated
from reworker.web.auth import LOCAL, principal_of, require_known_host, require_same_site
from reworker.web.bodies import BODY_BYTES, read_body, require_type
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem
from reworker.web.multipart import MultipartForm
from reworker.web.pages.rendering import error_page, login_url
from reworker.web.pages.visits import NOBODY, Form, View, Visit
from reworker.web.routes import GuardedRoute
from reworker.web.uploads import FORM_TYPE, read_form

FORM_TYPES = ("application/x-www-form-urlencoded",)
#: fields of a form at most: a thousand rows that are marked, and what goes with them.
FIELD_COUNT = 2000


def page_route(
    path: str,
    show: View | None = None,
    act: View | None = None,
    *,
    needs: Scope | None = Scope.READ,
    act_needs: Scope | None = None,
    file_bytes: int = 0,
) -> GuardedRoute:
    """Return the route of a page.

    Args:
        path: as Starlette reads it.
        show: answers GET; None is no page, only an action.
        act: answers POST; None is no action.
        needs: scope to see it; None lets everybody pass.
        act_needs: scope to act; None is that of `needs`.
        file_bytes: limit of a form that has a file; 0 is a form without.
    """
    views = {method: view for method, view in (("GET", show), ("POST", act)) if view is not None}
    scopes = {"GET": needs, "POST": act_needs or needs}

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return await _visit(views[method], request, scopes[method], file_bytes)
        except Exception as error:  # noqa: BLE001  # the one place where pages map errors to answers
            return await run_in_threadpool(answer_page_error, request, error)

    return GuardedRoute(path, endpoint, needs={method: scopes[method] for method in views})


async def _visit(view: View, request: Request, scope: Scope | None, file_bytes: int) -> Response:
    site = site_of(request)
    who = await _admitted(site, request, scope)
    if request.method == "POST" and file_bytes:
        require_type(request, (FORM_TYPE,))
        with closing(await read_form(request, file_bytes)) as parts:
            form = await run_in_threadpool(_form_of, parts)
            return await run_in_threadpool(view, Visit(site, who, request, form))
    form = await _form(request) if request.method == "POST" else Form()
    return await run_in_threadpool(view, Visit(site, who, request, form))


async def _admitted(site: Site, request: Request, scope: Scope | None) -> Principal:
    if scope is not None:
        who = await principal_of(site, request)
        if reason := who.refusal(scope):
            await run_in_threadpool(_deny, site, who, request, reason)
            who.require(scope)
        return who
    require_known_host(site, request)
    require_same_site(request)
    return NOBODY if site.settings.has_auth else LOCAL


def _deny(site: Site, who: Principal, request: Request, reason: str) -> None:
    if site.settings.has_auth:
        site.access.note_denial(who, f"page.{request.method.lower()}", request.url.path, reason)


async def _form(request: Request) -> Form:
    body = await read_body(request, BODY_BYTES)
    if not body:
        return Form()
    require_type(request, FORM_TYPES)
    try:
        text = body.decode("ascii")
        fields = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=FIELD_COUNT
        )
    except ValueError as error:
        reason = f"the form cannot be read: {error}"
        raise HttpProblem(400, "not-a-form", reason) from error
    return Form(fields)


def _form_of(parts: MultipartForm) -> Form:
    """Return a form with files; a browser sends a file without a name and bytes when none was chosen."""
    fields = [(one.name, one.text()) for one in parts.parts if one.file_name is None]
    return Form(fields, {one.name: one for one in parts.parts if one.file_name})


def answer_page_error(request: Request, error: Exception) -> Response:
    """Return the page about an error; who is not logged in is asked to."""
    if isinstance(error, NotAuthenticated):
        where = login_url(request)
        if "hx-request" in request.headers or "x-live" in request.headers:
            return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": where})
        return RedirectResponse(where, HTTPStatus.SEE_OTHER)
    return error_page(request, error)

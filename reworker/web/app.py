"""The application: every dialect at its address, over one site."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Router

from reworker.web import api_v1, ironworker, operators, pages, rerest
from reworker.web.api_v1 import live
from reworker.web.context import Site
from reworker.web.errors import answer_error
from reworker.web.headers import SafeHeaders
from reworker.web.operations import routes_of
from reworker.web.pages.rendering import error_page
from reworker.web.routes import require_guarded
from reworker.web.streams import Watcher

if TYPE_CHECKING:
    from reworker.web.conductor.parts import Parts


def create_app(site: Site, *, conductor: Parts | None = None) -> Starlette:
    """Return the application.

    Args:
        site: what it works with.
        conductor: serves workers that speak Conductor's HTTP; None serves none.

    Raises:
        TypeError: a route does not say who may pass; a bug.
    """
    routes: list[BaseRoute] = [
        _mount("/api/v1", [*routes_of(api_v1.OPERATIONS), *api_v1.OPEN_ROUTES]),
        _mount("/api/v0", rerest.ROUTES),
        _mount(ironworker.PREFIX, ironworker.ROUTES),
        *operators.ROUTES,
        *pages.ROUTES,
    ]
    require_guarded(routes)
    app = Starlette(
        routes=routes,
        middleware=[*_dialects(conductor), Middleware(SafeHeaders), Middleware(ironworker.ProxyForm)],
        exception_handlers={HTTPException: _answer, Exception: _answer},
    )
    app.router.redirect_slashes = False
    app.state.site = site
    app.state.watcher = live.new_watcher(site)
    app.state.end = partial(_end, app.state.watcher, conductor)
    return app


def _dialects(conductor: Parts | None) -> list[Middleware]:
    """Return what comes before all addresses: a worker asks for each task."""
    if conductor is None:
        return []
    from reworker.web.conductor.dialect import ConductorDialect  # not above: most servers have none

    return [Middleware(ConductorDialect, conductor)]


def _end(watcher: Watcher, conductor: Parts | None) -> None:
    """End answers that have no end of their own: the server stops. The event loop's thread."""
    watcher.end()
    if conductor is not None:
        conductor.end()


def _mount(path: str, routes: Sequence[BaseRoute]) -> Mount:
    """Return the routes below a path; an address with a slash more is another one: nothing is guessed."""
    return Mount(path, Router(routes, redirect_slashes=False))


async def _answer(request: Request, error: Exception) -> Response:
    if request.url.path.startswith(f"{ironworker.PREFIX}/"):
        return ironworker.told(request, error)
    if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("accept", ""):
        return await run_in_threadpool(error_page, request, error)
    return answer_error(request, error)

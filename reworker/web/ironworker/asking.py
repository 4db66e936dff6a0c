"""One request in IronWorker's dialect: who asks, what was sent, and how an answer or an error looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from reworker.core.principal import Principal, Scope
from reworker.core.tasks.guarded import GuardedTasks
from reworker.errors import NotAuthenticated
from reworker.storage.task_rows import ProjectRow
from reworker.task_errors import PackageInvalid, TaskRefused, ThingNotFound
from reworker.web.auth import authorization, principal_of
from reworker.web.bodies import json_of, read_body
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem, logged_problem
from reworker.web.routes import Endpoint, GuardedRoute

Document = dict[str, Any]

#: bytes of a body of JSON: 1,000 tasks of 64 KB are more than anybody sends at once, 100 are not.
BODY_BYTES = 16 << 20
#: bytes of a body from somebody who shows a token only in it.
UNKNOWN_BODY_BYTES = 1 << 20
#: schemes of the header ``Authorization``, besides the query's and the body's key ``oauth``.
_SCHEMES = ("oauth", "bearer", "jwt")
_JSON = "application/json"
#: statuses of our own API that clients of IronWorker know under another.
_STATUSES = {415: 406, 422: 400}


@dataclass(frozen=True)
class Ask:
    """One request, with the rights of who makes it.

    Args:
        core: does what is asked for.
        path: parts of the address by name.
        query: of the address.
        body: the object that was sent; empty is none.
        raw: the body as it came.
    """

    site: Site
    core: GuardedTasks
    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Document
    raw: bytes = b""

    @cached_property
    def project(self) -> ProjectRow:
        """The project of the address.

        Raises:
            ThingNotFound: there is none of this id or name.
        """
        return self.core.projects.find(self.path["pid"])


#: does what an address is for, on a thread of its own.
Act = Callable[[Ask], Document | list[Any] | Response]


@dataclass(frozen=True)
class Call:
    """What one method of an address does.

    Args:
        act: does it.
        has_raw_body: any body is taken as it is.
        needs_json: a body must be said to be JSON; else it is looked at only for a token.
    """

    scope: Scope
    act: Act
    has_raw_body: bool = False
    needs_json: bool = False


def route(path: str, calls: Mapping[str, Call]) -> GuardedRoute:
    """Return an address and what its methods do."""

    async def endpoint(request: Request) -> Response:
        call = calls["GET" if request.method == "HEAD" else request.method]
        return answer(await done(request, call))

    return guarded(path, endpoint, {method: call.scope for method, call in calls.items()})


def guarded(path: str, endpoint: Endpoint, needs: Mapping[str, Scope]) -> GuardedRoute:
    """Return an address whose errors are told in this dialect."""

    async def safe(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as error:  # noqa: BLE001  # the place where this dialect maps errors to answers
            return told(request, error)

    return GuardedRoute(path, safe, needs=needs)


async def done(request: Request, call: Call) -> Document | list[Any] | Response:
    """Do what was asked for, once it is known who asks."""
    site = site_of(request)
    who = await known(site, request, call.scope) if shows_token(site, request) else None
    raw = await read_body(request, BODY_BYTES if who else UNKNOWN_BODY_BYTES)
    body: Document = {}
    if not call.has_raw_body:
        body = await run_in_threadpool(object_in, request, raw, needs_json=call.needs_json)
    if who is None:
        who = await known(site, request, call.scope, body)
    core = GuardedTasks(site.service, site.access, who)
    ask = Ask(site, core, request.path_params, request.query_params, body, raw)
    return await run_in_threadpool(call.act, ask)


def shows_token(site: Site, request: Request) -> bool:
    """Tell whether who asks can be known before the body has come."""
    return not site.settings.has_auth or _token_outside(request) is not None


def _token_outside(request: Request) -> str | None:
    for scheme in _SCHEMES:
        token = authorization(request, scheme)
        if token:
            return token
    return request.query_params.get("oauth") or None


async def known(
    site: Site, request: Request, scope: Scope, body: Mapping[str, Any] | None = None
) -> Principal:
    """Return who asks, if the token has the scope that the address needs; a denial is in the audit.

    Args:
        site: whose tokens count.
        request: of the client.
        scope: that is needed.
        body: the object that was sent, whose ``oauth`` counts when there is no other token.

    Raises:
        NotAuthenticated: nobody we know.
        Forbidden: the token has not this scope.
    """
    inside = (body or {}).get("oauth")
    inside = inside if isinstance(inside, str) and inside else None
    found = _token_outside(request) or inside
    who = await principal_of(site, request, (lambda _: found,), takes_cookie=False)
    if reason := who.refusal(scope):
        action = f"ironworker.{request.method.lower()}"
        if not _has_other(who, scope):
            await run_in_threadpool(site.access.note_denial, who, action, request.url.path, reason)
            who.require(scope)
    return who


def _has_other(who: Principal, scope: Scope) -> bool:
    """Tell whether another scope is enough: workers fetch packages and report; who may do may look."""
    if scope is Scope.READ:
        return bool(who.scopes)
    return scope is Scope.RUN and Scope.WORKER in who.scopes


def object_in(request: Request, raw: bytes, *, needs_json: bool) -> Document:
    """Return the object that a body holds; an empty one for none.

    Raises:
        HttpProblem: 406 it is not said to be JSON, 400 it is none.
    """
    if not raw.strip():
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        if needs_json:
            raise HttpProblem(406, "wrong-content-type", f"send the body with Content-Type: {_JSON}")
        return {}
    found = json_of(raw)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise HttpProblem(400, "not-json", "the body is a JSON object")
    return found


async def pieces_of(request: Request, limit_bytes: int, silence_s: float) -> AsyncGenerator[bytes, None]:
    """Yield a body as it comes, without keeping any of it.

    Raises:
        HttpProblem: 413 it is larger than the limit, 408 nothing came for too long, 400 the client went away.
    """
    size_bytes, stream = 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                piece = await anext(stream, None)
        except TimeoutError as error:
            raise HttpProblem(
                408, "body-too-slow", f"nothing of the body came for {silence_s:g} s"
            ) from error
        except ClientDisconnect as error:
            raise HttpProblem(400, "body-incomplete", "the connection ended within the body") from error
        if piece is None:
            return
        size_bytes += len(piece)
        if size_bytes > limit_bytes:
            reason = f"the body is larger than {limit_bytes} bytes, the limit here"
            raise HttpProblem(413, "body-too-large", reason)
        yield piece


def answer(found: Document | list[Any] | Response, status: int = 200) -> Response:
    """Return an answer; what is no response yet is sent as JSON."""
    if isinstance(found, Response):
        return found
    return Response(msgspec.json.encode(found), status, media_type=_JSON)


def told(request: Request, error: Exception) -> Response:
    """Return an error as IronWorker's clients read it: ``{"msg": reason}``."""
    if isinstance(error, NotAuthenticated):
        response = answer({"msg": "Invalid project/token combination", "reason": str(error)}, 401)
        response.headers["WWW-Authenticate"] = 'Bearer realm="reworker"'
    elif isinstance(error, ThingNotFound):
        response = answer({"msg": f"Not found: {error}"}, 404)
    elif isinstance(error, PackageInvalid | TaskRefused):
        response = answer({"msg": str(error)}, 400)
    else:
        problem = logged_problem(request, error)
        words = "Not found" if problem.name == "no-such-address" else problem.detail
        response = answer({"msg": words}, _STATUSES.get(problem.status, problem.status))
        response.headers.update(problem.headers)
    return response

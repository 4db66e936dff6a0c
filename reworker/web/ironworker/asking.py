"""One request in IronWorker's dialect: who asks, what was sent, and how an answer or an error looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from reworker.core.places import may_any
from reworker.core.principal import ANYWHERE, Place, Principal, Scope
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

    def may(self, scope: Scope) -> bool:
        """Tell whether the token has a scope in the project: who may not give a secret is not shown it."""
        return may_any(self.core.who, (scope,), Place(self.project.name))


#: does what an address is for, on a thread of its own.
Act = Callable[[Ask], Document | list[Any] | Response]


@dataclass(frozen=True)
class Call:
    """What one method of an address does.

    Args:
        scope: that the token needs.
        act: does it.
        also: scopes that are enough as well.
        has_raw_body: any body is taken as it is.
        needs_json: a body must be said to be JSON; else it is looked at only for a token.
    """

    scope: Scope
    act: Act
    also: tuple[Scope, ...] = ()
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
    scopes = (call.scope, *call.also)
    who = await known(site, request, scopes) if shows_token(site, request) else None
    raw = await read_body(request, BODY_BYTES if who else UNKNOWN_BODY_BYTES)
    body: Document = {}
    if not call.has_raw_body:
        body = await run_in_threadpool(object_in, request, raw, needs_json=call.needs_json)
    if who is None:
        who = await known(site, request, scopes, body)
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
    site: Site, request: Request, scopes: Sequence[Scope], body: Mapping[str, Any] | None = None
) -> Principal:
    """Return who asks, if the token has a scope that the address needs; a denial is in the audit.

    Args:
        site: whose tokens count.
        request: of the client.
        scopes: one of them is enough.
        body: the object that was sent, whose ``oauth`` counts when there is no other token.

    Raises:
        NotAuthenticated: nobody we know.
        Forbidden: the token has none of these scopes.
    """
    inside = (body or {}).get("oauth")
    inside = inside if isinstance(inside, str) and inside else None
    found = _token_outside(request) or inside
    who = await principal_of(site, request, (lambda _: found,), takes_cookie=False)
    if not may_any(who, scopes, ANYWHERE):
        action = f"ironworker.{request.method.lower()}"
        reason = who.refusal(scopes[0])
        await run_in_threadpool(site.access.note_denial, who, action, request.url.path, reason)
        who.require(scopes[0])
    return who


def object_in(request: Request, raw: bytes, *, needs_json: bool) -> Document:
    """Return the object that a body holds; an empty one for none.

    Raises:
        HttpProblem: 406 it is not said to be JSON, 400 it is none.
    """
    if not raw.strip():
        return {}
    if media_type_of(request) != _JSON:
        if needs_json:
            raise HttpProblem(406, "wrong-content-type", f"send the body with Content-Type: {_JSON}")
        return {}
    found = json_of(raw)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise HttpProblem(400, "not-json", "the body is a JSON object")
    return found


def media_type_of(request: Request) -> str:
    """Return what a body is said to be; empty when nothing is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


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

"""An operation of our own API as data: what it takes and gives, from which its route and its words are made.

What a client sends is checked against the types before anything of ours runs; what we answer has the type
that the description of the API shows, because both are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from reworker.core.principal import Principal, Scope
from reworker.web.auth import principal_of
from reworker.web.bodies import BODY_BYTES, json_of, read_body, require_type
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem, answer_error
from reworker.web.routes import GuardedRoute
from reworker.web.uploads import Upload, read_upload

JSON_TYPE = "application/json"


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation that takes nothing from the query of the address."""


@dataclass(frozen=True)
class Call:
    """One request to an operation, checked.

    Args:
        site: what to work with.
        who: asks.
        path: parts of the address by name.
        query: of the operation's type for it.
        body: of the operation's type for it, or None.
        request: all of it, for headers.
        raw: the body as it came.
        upload: files that came with it, for `do` to read; they are closed behind it.
    """

    site: Site
    who: Principal
    path: Mapping[str, str]
    query: Any
    body: Any
    request: Request
    raw: bytes = b""
    upload: Upload | None = None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that the API does.

    Args:
        do: does it, on a thread of its own; returns an `answer`, or a response it made itself.
        scope: that the token needs; where it may be used is for `do` to ask.
        also: scopes that are enough as well.
        summary: in a line.
        query: a Struct with defaults.
        body: a Struct, or None for none.
        form: a Struct, when it takes a file: as the body, or as `file` of a form that has this as `data`.
        file_type: media type of that file.
        answer: type of the answer; None is none.
        status: of the answer.
        errors: further statuses, beside those that any operation may have.
        body_bytes: limit of the body.
        has_key: an ``Idempotency-Key`` counts.
        media_type: of an answer that is not JSON.
    """

    method: str
    path: str
    do: Callable[[Call], Any]
    scope: Scope
    summary: str
    tag: str
    description: str = ""
    also: tuple[Scope, ...] = ()
    query: type[msgspec.Struct] = NoQuery
    body: type[msgspec.Struct] | None = None
    form: type[msgspec.Struct] | None = None
    file_type: str = "application/octet-stream"
    answer: Any = None
    status: int = 200
    errors: tuple[int, ...] = ()
    body_bytes: int = BODY_BYTES
    has_key: bool = False
    media_type: str = JSON_TYPE


def routes_of(operations: Iterable[Operation]) -> list[GuardedRoute]:
    """Return one route for each address, which knows all of its methods."""
    by_path: dict[str, dict[str, Operation]] = {}
    for one in operations:
        by_path.setdefault(one.path, {})[one.method] = one
    return [_route(path, by_method) for path, by_method in by_path.items()]


def _route(path: str, by_method: Mapping[str, Operation]) -> GuardedRoute:
    async def endpoint(request: Request) -> Response:
        operation = by_method["GET" if request.method == "HEAD" else request.method]
        try:
            return await _perform(operation, request)
        except Exception as error:  # noqa: BLE001  # the one place where our API maps errors to answers
            return answer_error(request, error)

    needs = {method: one.scope for method, one in by_method.items()}
    return GuardedRoute(path, endpoint, needs=needs)


async def _perform(operation: Operation, request: Request) -> Response:
    site = site_of(request)
    who = await principal_of(site, request)
    reason = who.refusal(operation.scope)
    if reason and not any(who.may(one) for one in operation.also):
        await run_in_threadpool(_deny, site, who, operation, request, reason)
    raw, body = b"", None
    if operation.body is not None:
        require_type(request)
        raw = await read_body(request, operation.body_bytes)
        # a large body takes a second, in which everybody else would wait
        body = await run_in_threadpool(_body, raw, operation.body)
    query = _query(request, operation.query)
    upload = await _upload(operation, request)
    call = Call(site, who, request.path_params, query, body, request, raw, upload)
    try:
        found = await run_in_threadpool(operation.do, call)
    finally:
        if upload is not None:
            upload.close()
    if isinstance(found, Response):
        return found
    if operation.answer is None:
        return Response(status_code=operation.status)
    return Response(msgspec.json.encode(found), operation.status, media_type=operation.media_type)


async def _upload(operation: Operation, request: Request) -> Upload | None:
    if operation.form is None:
        return None
    return await read_upload(request, (operation.file_type,), operation.body_bytes)


def _body(raw: bytes, kind: type[msgspec.Struct]) -> Any:
    return converted(json_of(raw), kind, "body")


def _deny(site: Site, who: Principal, operation: Operation, request: Request, reason: str) -> None:
    """Note a denial, and say it."""
    site.access.note_denial(who, f"{operation.tag}.{operation.method.lower()}", request.url.path, reason)
    who.require(operation.scope)


def converted(value: Any, kind: Any, where: str, *, is_text: bool = False) -> Any:
    """Return a value as the type wants it.

    Args:
        value: as JSON gives it.
        kind: a type that msgspec knows.
        where: body or query, for the error.
        is_text: values are texts that stand for numbers and the like.

    Raises:
        HttpProblem: 422 it does not fit; says where and why.
    """
    try:
        return msgspec.convert(value, kind, strict=not is_text)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        path = place.rstrip("`").lstrip(".")
        what = f"{where}: {path}: {reason}" if path else f"{where}: {reason}"
        raise HttpProblem(422, f"invalid-{where}", what, {"path": path}) from error


def _query(request: Request, kind: type[msgspec.Struct]) -> Any:
    """Return the query of the address; a name that takes one value must not be there twice."""
    lists = {one.name for one in msgspec.structs.fields(kind) if get_origin(one.type) is tuple}
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in lists:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise HttpProblem(422, "invalid-query", f"query: {name[:60]!a} is there twice")
        else:
            values[name] = value
    return converted(values, kind, "query", is_text=True)

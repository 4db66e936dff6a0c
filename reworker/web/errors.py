"""The one map from errors to HTTP: status, short name and words; and problem documents (RFC 9457) of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reworker.errors import (
    BusError,
    ConfigError,
    DeploymentNotFound,
    Forbidden,
    KeyReused,
    LetterNotFound,
    LetterStays,
    MessageError,
    NotAuthenticated,
    NotResumable,
    PlaybookInvalid,
    PlaybookNotFound,
    ReworkerError,
    StaleVersion,
    StorageUnavailable,
    TokenNotFound,
)
from reworker.task_errors import NoRoomForType, PackageInvalid, TaskRefused, ThingNotFound, TooManyTypes

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
#: seconds after which a client may try again what failed because something was away.
RETRY_AFTER_S = 2
#: seconds after which there may be room for a task type that had none.
ROOM_AFTER_S = 60
#: how the type of a problem begins; what follows is in docs/api.md.
TYPE_PREFIX = "urn:reworker:problem:"

#: the secret of a link, as a part of an address.
_SECRET_PART = re.compile(r"/[0-9a-f]{64}")
#: what workers of Conductor ask for, below whatever they take for their server; what they and others hear.
_OF_CONDUCTOR = re.compile(r"/(tasks?/(poll|update|queue)|metadata/|tasks?$|token$)")
_CONDUCTOR_HINT = (
    "there is no such address here; a server with --conductor has those of Conductor, below /api"
)
_HINT = "there is no such address here; /api/v1/openapi.json has those of the API"

#: error -> (status, short name); the first that fits, so leaves come before their bases.
_ERRORS: tuple[tuple[type[ReworkerError], int, str], ...] = (
    (NotAuthenticated, 401, "not-authenticated"),
    (Forbidden, 403, "forbidden"),
    (DeploymentNotFound, 404, "deployment-not-found"),
    (PlaybookNotFound, 404, "playbook-not-found"),
    (LetterNotFound, 404, "letter-not-found"),
    (TokenNotFound, 404, "token-not-found"),
    (LetterStays, 409, "letter-stays"),
    (KeyReused, 409, "idempotency-key-reused"),
    (NotResumable, 409, "not-resumable"),
    (StaleVersion, 409, "changed-meanwhile"),
    (PlaybookInvalid, 422, "playbook-invalid"),
    (PackageInvalid, 422, "package-invalid"),
    (TaskRefused, 422, "task-refused"),
    (ConfigError, 422, "invalid-value"),
    (MessageError, 422, "invalid-message"),
    (TooManyTypes, 429, "too-many-types"),
    (NoRoomForType, 503, "no-room-for-type"),
    (StorageUnavailable, 503, "database-away"),
    (BusError, 503, "broker-away"),
)


class HttpProblem(Exception):
    """Something that is wrong with a request, and that only HTTP knows.

    Args:
        status: of HTTP.
        name: short, of letters and hyphens; documented.
        detail: what is wrong and what to do.
        extra: further members of the problem document.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        extra: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status, self.name, self.detail = status, name, detail
        self.extra, self.headers = dict(extra or {}), dict(headers or {})
        super().__init__(detail)


def problem_of(error: Exception) -> HttpProblem:
    """Return what HTTP says of an error; what is not known is a fault of ours, of which nothing is told."""
    if isinstance(error, HttpProblem):
        return error
    if isinstance(error, HTTPException):
        return HttpProblem(
            error.status_code, _name_of(error.status_code), error.detail, headers=error.headers
        )
    if isinstance(error, ThingNotFound):
        return HttpProblem(404, f"{error.kind}-not-found", str(error))
    for kind, status, name in _ERRORS:
        if isinstance(error, kind):
            return HttpProblem(status, name, str(error), _extra(error), headers=_headers(error))
    return HttpProblem(500, "internal-error", "this is a fault of the server; its log says more")


def _name_of(status: int) -> str:
    names = {404: "no-such-address", 405: "method-not-allowed"}
    return names.get(status, HTTPStatus(status).phrase.lower().replace(" ", "-"))


def _extra(error: ReworkerError) -> dict[str, Any]:
    if isinstance(error, PlaybookInvalid):
        return {"line": error.line, "path": error.path, "reason": error.reason}
    if isinstance(error, KeyReused):
        return {"deployment": error.deployment_id}
    if isinstance(error, TaskRefused) and error.field:
        return {"path": error.field}
    if isinstance(error, LetterStays) and error.needs:
        return {"needs": error.needs}
    return {}


def _headers(error: ReworkerError) -> dict[str, str]:
    if isinstance(error, NotAuthenticated):
        return {"WWW-Authenticate": 'Bearer realm="reworker"'}
    if isinstance(error, StorageUnavailable | BusError):
        return {"Retry-After": str(RETRY_AFTER_S)}
    if isinstance(error, TooManyTypes | NoRoomForType):
        return {"Retry-After": str(ROOM_AFTER_S)}
    return {}


def problem_response(problem: HttpProblem, instance: str) -> Response:
    """Return a problem document: ``{"type", "title", "status", "detail", "instance", ...}``."""
    try:
        title = HTTPStatus(problem.status).phrase
    except ValueError:
        title = "Error"
    document = {
        **problem.extra,
        "type": f"{TYPE_PREFIX}{problem.name}",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": instance,
    }
    body = msgspec.json.encode(document)
    return Response(body, problem.status, headers=problem.headers, media_type=PROBLEM_TYPE)


def answer_error(request: Request, error: Exception) -> Response:
    """Return the answer to a request that failed; the log gets what the client must not see."""
    problem = logged_problem(request, error)
    if isinstance(error, HTTPException) and problem.status == HTTPStatus.NOT_FOUND:
        reason = _CONDUCTOR_HINT if _OF_CONDUCTOR.search(request.url.path) else _HINT
        problem = HttpProblem(problem.status, problem.name, reason, headers=problem.headers)
    return problem_response(problem, request.url.path)


def logged_problem(request: Request, error: Exception) -> HttpProblem:
    """Return what HTTP says of an error, once the log has it if it is a fault of ours or of what we need."""
    problem = problem_of(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error(
            "%s %s failed: %s",
            *(request.method, shown_path(request), error),
            exc_info=error if problem.name == "internal-error" else None,
        )
    return problem


def shown_path(request: Request) -> str:
    """Return the path of a request without the secret of a link."""
    return _SECRET_PART.sub("/***", request.url.path)

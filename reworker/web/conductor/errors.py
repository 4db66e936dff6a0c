"""Errors as Conductor's clients read them: ``{"status", "message", "instance", "retryable"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from reworker.errors import Forbidden, NotAuthenticated
from reworker.web.conductor.exchange import Answer
from reworker.web.errors import HttpProblem, logged_problem

#: with which clients ask for another token, and try again once.
INVALID, EXPIRED = "INVALID_TOKEN", "EXPIRED_TOKEN"
#: to who asks for a token: at one of the others, conductor-python asks again from within, 200 times.
WRONG_SECRET = "INVALID_CREDENTIALS"
#: statuses of our own API that these clients know under another.
_STATUSES = {415: 400, 422: 400}


class TokenRefused(NotAuthenticated):
    """The token does not count; `code` says to the client why."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


def told(request: Request, error: Exception) -> Answer:
    """Return the answer to a request that failed; the log gets what the client must not see."""
    problem = logged_problem(request, error)
    status = _STATUSES.get(problem.status, problem.status)
    document = error_document(problem, status, request.url.path)
    if isinstance(error, NotAuthenticated):
        document["error"] = error.code if isinstance(error, TokenRefused) else INVALID
    elif isinstance(error, Forbidden):
        document["error"] = "FORBIDDEN"
    return Answer(status, msgspec.json.encode(document), headers=problem.headers)


def error_document(problem: HttpProblem, status: int, instance: str) -> dict[str, Any]:
    """Return what is said of a problem."""
    extra: Mapping[str, Any] = problem.extra
    return {
        **extra,
        "status": status,
        "code": problem.name,
        "message": problem.detail,
        "instance": instance,
        "retryable": status in (408, 429) or status >= 500,
    }

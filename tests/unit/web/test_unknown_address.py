"""What is said of an address that is not there."""

from __future__ import annotations

import json

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from reworker.web.errors import HttpProblem, answer_error


def detail(path: str, error: Exception) -> str:
    """Return what the answer says."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "server": ("h", 80),
    }
    answer = answer_error(Request(scope), error)
    assert answer.status_code == 404
    found: str = json.loads(bytes(answer.body))["detail"]
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/conductor/tasks/poll/batch/paint",
        "/api/tasks/poll/paint",
        "/api/tasks",
        "/api/token",
        "/api/metadata/taskdefs",
    ],
)
def test_worker_of_conductor_reads_what_its_server_lacks(path: str) -> None:
    assert "a server with --conductor has those of Conductor, below /api" in detail(path, HTTPException(404))


def test_others_read_where_addresses_are_listed() -> None:
    assert detail("/api/v1/nothing", HTTPException(404)).endswith("/api/v1/openapi.json has those of the API")


def test_reason_of_our_own_stays() -> None:
    assert detail("/api/token", HttpProblem(404, "no-such-address", "no tokens")) == "no tokens"

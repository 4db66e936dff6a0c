"""Reading what a client sends: bounded in size and time, and no JSON that readers could read in two ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from reworker.web.errors import HttpProblem

#: bytes of a body at most, unless an address says otherwise: a playbook may have 2 MB.
BODY_BYTES = 4 << 20
#: seconds a client may take to send its body.
BODY_S = 30.0
#: how deep JSON may be nested; deeper is no request of ours.
DEPTH_COUNT = 64
JSON_TYPES = ("application/json",)


async def read_body(request: Request, limit_bytes: int = BODY_BYTES, timeout_s: float = BODY_S) -> bytes:
    """Return the body of a request.

    Raises:
        HttpProblem: 413 it is larger than the limit, 408 it takes too long, 400 the client went away.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, limit_bytes)
    except TimeoutError as error:
        reason = f"the body did not arrive within {timeout_s:g} s"
        raise HttpProblem(408, "body-too-slow", reason) from error
    except ClientDisconnect as error:
        raise HttpProblem(400, "body-incomplete", "the connection ended within the body") from error


async def _read(request: Request, limit_bytes: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit_bytes:
        _refuse_size(limit_bytes)
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            _refuse_size(limit_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _refuse_size(limit_bytes: int) -> NoReturn:
    raise HttpProblem(413, "body-too-large", f"the body is larger than {limit_bytes} bytes, the limit here")


def require_type(request: Request, wanted: Sequence[str] = JSON_TYPES) -> None:
    """Let a body of one of these media types pass.

    Raises:
        HttpProblem: 415 it is of another, or says none.
    """
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in wanted:
        said = f"the body is said to be {found[:60]!a}" if found else "the body has no Content-Type"
        raise HttpProblem(415, "wrong-content-type", f"{said}; send {' or '.join(wanted)}")


def json_of(body: bytes) -> Any:
    """Return what a body of JSON says.

    Raises:
        HttpProblem: 400 it is no JSON; or it has a key twice, a number that JSON does not know, half a
            character, or is nested too deep.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise HttpProblem(400, "not-json", f"the body is not UTF-8: {error.reason}") from error
    except RecursionError as error:
        raise HttpProblem(400, "not-json", "the body is nested too deep") from error
    except ValueError as error:
        raise HttpProblem(400, "not-json", f"the body cannot be read as JSON: {error}") from error
    _require_sane(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = _first_twice([name for name, _ in pairs])
        raise ValueError(f"the key {twice[:60]!a} is there twice")
    return found


def _first_twice(names: Iterable[str]) -> str:
    """Return the first name that was there before; in one pass, for a body may have 500,000 of them."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            break
        seen.add(name)
    return name


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _require_sane(value: Any, depth: int = 0) -> None:
    """Refuse what the database or another reader could not take, at any depth."""
    if depth > DEPTH_COUNT:
        raise HttpProblem(400, "not-json", f"the body is nested deeper than {DEPTH_COUNT} levels")
    if isinstance(value, str):
        if not _is_whole(value):
            raise HttpProblem(400, "not-json", "a text in the body has half of a surrogate pair")
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise HttpProblem(400, "not-json", "a number in the body is too large")
    elif isinstance(value, dict):
        for name, one in value.items():
            _require_sane(name, depth + 1)
            _require_sane(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _require_sane(one, depth + 1)


def _is_whole(text: str) -> bool:
    return not any("\ud800" <= one <= "\udfff" for one in text) if not text.isascii() else True

"""Scripts, style and pictures: named after what they hold, so that browsers may keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from reworker.web.errors import HttpProblem, answer_error
from reworker.web.routes import GuardedRoute

STATIC = Path(__file__).parent.parent / "static"
#: characters of the hash in a name.
HASH_CHARACTERS = 12
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


class Asset(msgspec.Struct, frozen=True):
    """A file for browsers, as it is and compressed."""

    name: str
    url_name: str
    media_type: str
    body: bytes
    zipped: bytes


@cache
def assets() -> dict[str, Asset]:
    """Return all files, by the name they have in addresses."""
    found = (_asset(path) for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES)
    return {one.url_name: one for one in found}


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:HASH_CHARACTERS]
    url_name = f"{path.stem}.{digest}{path.suffix}"
    return Asset(path.name, url_name, _TYPES[path.suffix], body, gzip.compress(body, 9, mtime=0))


@cache
def asset_url(name: str) -> str:
    """Return the address of a file.

    Raises:
        KeyError: there is none; a bug of a template.
    """
    by_name = {one.name: one.url_name for one in assets().values()}
    return f"/static/{by_name[name]}"


async def _endpoint(request: Request) -> Response:
    found = assets().get(request.path_params["name"])
    if found is None:
        return answer_error(request, HttpProblem(404, "no-such-address", "there is no such file"))
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
    body = found.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = found.zipped, "gzip"
    return Response(body, HTTPStatus.OK, headers=headers, media_type=found.media_type)


ROUTES = (GuardedRoute("/static/{name}", _endpoint, needs={"GET": None}),)

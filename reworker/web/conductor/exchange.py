"""One request and its answer, on the event loop, without what other addresses pay for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from reworker.gateway.contract import Poll
from reworker.web.bodies import BODY_S
from reworker.web.errors import HttpProblem
from reworker.web.protocol import CONNECTION

#: bytes of a body: as much as brokers take in one message.
BODY_BYTES = 16 << 20
#: of a body that is too large, bytes at its beginning and at its end that are kept; how long it may be for
#: that, and seconds until its next part.
KEPT_BYTES, LONGEST_BYTES, PAUSE_S = 1 << 12, 256 << 20, 1.0
#: queries that are remembered: each worker always asks the same.
QUERY_COUNT = 1024
#: characters of a query.
QUERY_CHARACTERS = 4096
JSON, TEXT = b"application/json", b"text/plain; charset=utf-8"
#: headers of every answer.
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class BodyTooLarge(HttpProblem):
    """The body is over the limit.

    Args:
        found: what has come of it; how it begins and ends is kept, see `Exchange.read_on`.
        has_more: it goes on.
    """

    def __init__(self, found: bytes = b"", *, has_more: bool = True) -> None:
        self.beginning, self.end, self.has_more = found[:KEPT_BYTES], found[-KEPT_BYTES:], has_more
        reason = f"the body is larger than {BODY_BYTES} bytes, the limit here"
        super().__init__(413, "body-too-large", reason)

    def add(self, message: Mapping[str, Any]) -> int:
        """Take a further part; return how long it is."""
        part = bytes(message.get("body", b""))
        self.beginning = (self.beginning + part)[:KEPT_BYTES]
        self.end = (self.end + part)[-KEPT_BYTES:]
        self.has_more = bool(message.get("more_body"))
        return len(part)


class Answer(NamedTuple):
    """What is answered.

    Args:
        status: of HTTP.
        body: bytes; empty is none.
        media_type: of the body.
        headers: further ones.
        poll: what was found for the worker: it has started once this is written, and goes back if nobody
            reads it.
    """

    status: int = 200
    body: bytes = b""
    media_type: bytes = JSON
    headers: Mapping[str, str] = {}
    poll: Poll | None = None


class Exchange:
    """A request that is being answered.

    Args:
        scope: see ASGI; so are the others.
        path: parts of the address by name.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, path: Mapping[str, str]) -> None:
        self.scope, self.path = scope, path
        self._receive, self._send = receive, send
        self._connection = scope.get("state", {}).get(CONNECTION)
        self.headers: dict[bytes, bytes] = dict(scope["headers"])

    def header(self, name: bytes) -> str:
        """Return a header; empty when it is not there."""
        return self.headers.get(name, b"").decode("latin-1").strip()

    def query(self, name: str, default: str = "") -> str:
        """Return a parameter of the address."""
        return self.queries(name, default)[-1]

    def queries(self, name: str, default: str = "") -> list[str]:
        """Return a parameter of the address that may be there several times."""
        return _parsed(self.scope["query_string"]).get(name) or [default]

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            BodyTooLarge: 413 it is.
            HttpProblem: 408 it takes too long, 400 the client went away.
        """
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > BODY_BYTES:
            raise BodyTooLarge
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return _checked(message.get("body", b""))
        try:
            async with asyncio.timeout(BODY_S):
                return await self._rest(message)
        except TimeoutError as error:
            raise HttpProblem(408, "body-too-slow", f"the body did not arrive within {BODY_S:g} s") from error

    async def _rest(self, message: Mapping[str, object]) -> bytes:
        found = bytearray()
        while message["type"] == "http.request":
            found += bytes(message.get("body", b""))  # type: ignore[call-overload]  # bytes, says ASGI
            if len(found) > BODY_BYTES:
                raise BodyTooLarge(bytes(found), has_more=bool(message.get("more_body")))
            if not message.get("more_body"):
                return bytes(found)
            message = await self._receive()
        raise HttpProblem(400, "body-incomplete", "the connection ended within the body")

    async def read_on(self, error: BodyTooLarge) -> None:
        """Find out how a body that is too large begins and ends, as long as it goes on coming."""
        left_bytes = LONGEST_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BODY_S):
                while error.has_more and left_bytes > 0:
                    left_bytes -= error.add(await asyncio.wait_for(self._receive(), PAUSE_S))

    async def waited(self, done: asyncio.Future[Any]) -> bool:
        """Wait for something; tell whether it came before the client has gone."""
        if not done.done():
            gone = asyncio.ensure_future(self._gone())
            try:
                await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone.cancel()
        return done.done()

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def is_open(self) -> bool:
        """Tell whether somebody would read an answer."""
        return self._connection is None or self._connection.is_open()

    async def answer(self, answer: Answer) -> None:
        """Write an answer, in one piece."""
        headers = [
            *_ALWAYS,
            *((name.lower().encode(), text.encode()) for name, text in answer.headers.items()),
        ]
        if answer.status != 204:
            headers.append((b"content-length", b"%d" % len(answer.body)))
            if answer.body:
                headers.append((b"content-type", answer.media_type))
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.body})


def _checked(body: bytes | bytearray) -> bytes:
    if len(body) > BODY_BYTES:
        raise BodyTooLarge(bytes(body), has_more=False)
    return bytes(body)


@lru_cache(QUERY_COUNT)
def _parsed(query: bytes) -> dict[str, list[str]]:
    """Return the parameters of an address; what nobody can read is not there."""
    try:
        return parse_qs(
            query[:QUERY_CHARACTERS].decode("latin-1"), keep_blank_values=True, max_num_fields=100
        )
    except ValueError:
        return {}

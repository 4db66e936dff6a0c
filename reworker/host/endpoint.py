"""The HTTP server of operators: `/healthz`, `/readyz`, `/metrics`; one thread, and bounds for everything."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Self

from reworker.errors import ConfigError
from reworker.host.health import Probe, page_of
from reworker.host.metrics import CONTENT_TYPE, exposition

logger = logging.getLogger(__name__)

#: where it listens unless a host is named: nobody else's business.
DEFAULT_HOST = "127.0.0.1"
#: bytes of a request, all headers included; a Prometheus sends 500.
REQUEST_BYTES = 8192
#: seconds a client may take for its request and for taking the answer.
EXCHANGE_S = 5.0
#: connections at one time; those above are closed unread.
CONNECTION_COUNT = 32
_JSON = "application/json"


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


class Endpoint:
    """Answers until closed; a context.

    `start` binds on the caller's thread, so that an address in use is an error there. What a client sends can
    cost no more than one of its connections.

    Args:
        address: ``PORT``, ``HOST:PORT`` or ``[ADDRESS]:PORT``; port 0 takes a free one.
        probe: asked for the state at each request.
    """

    def __init__(self, address: str, probe: Probe) -> None:
        self._host, self._port = address_of(address)
        self._probe = probe
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._open_count = 0
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers; after `start`."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Begin to answer.

        Raises:
            ConfigError: it cannot listen there.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server(
                (self._host, self._port), family=family, backlog=CONNECTION_COUNT
            )
        except (OSError, OverflowError) as error:
            reason = f"cannot listen on {self._host}:{self._port}: {error}; is another worker's there?"
            raise ConfigError(reason, key="health") from error
        self._thread.start()
        logger.info("health and metrics at %s", self.url)

    def close(self) -> None:
        """Stop answering. Safe twice."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end.set)
        if self._thread.is_alive():
            self._thread.join(EXCHANGE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:  # top of the thread: a process without its endpoint goes on working
            logger.exception("the endpoint for health and metrics has ended")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._converse, sock=self._socket, limit=REQUEST_BYTES)
        async with server:
            await self._end.wait()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open_count += 1
        try:
            if self._open_count <= CONNECTION_COUNT:
                async with asyncio.timeout(EXCHANGE_S):
                    writer.write(await self._reply_to(reader))
                    await writer.drain()
                    writer.write_eof()
        except (OSError, EOFError, TimeoutError):
            writer.transport.abort()  # a client that went, or is too slow
        finally:
            self._open_count -= 1
            writer.close()

    async def _reply_to(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _encoded(_problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE), is_head=False)
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _encoded(_problem(HTTPStatus.BAD_REQUEST), is_head=False)
        method, path = words[0], words[1].split(b"?", 1)[0]
        if method not in (b"GET", b"HEAD"):
            return _encoded(_problem(HTTPStatus.METHOD_NOT_ALLOWED), is_head=False)
        return _encoded(self._answer(path), is_head=method == b"HEAD")

    def _answer(self, path: bytes) -> Answer:
        page = PAGES.get(path)
        if page is None:
            return _problem(HTTPStatus.NOT_FOUND, f"there is {b', '.join(PAGES).decode()}")
        try:
            return page(self._probe)
        except Exception as error:  # an answer that says so is worth more than none
            logger.exception("the state could not be told")
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}; see the log")


def address_of(text: str) -> tuple[str, int]:
    """Return (host, port) of ``PORT``, ``HOST:PORT`` or ``[ADDRESS]:PORT``.

    Raises:
        ConfigError: it is none of them.
    """
    host, _, port = str(text).rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() else -1
    if not 0 <= number <= 65535:
        reason = f"expected PORT or HOST:PORT with a port up to 65535, found {text!r}"
        raise ConfigError(reason, key="health")
    return host.removeprefix("[").removesuffix("]") or DEFAULT_HOST, number


def _healthz(probe: Probe) -> Answer:
    report = probe()
    return _health(page_of(report, report.is_alive, report.dead), report.is_alive)


def _readyz(probe: Probe) -> Answer:
    report = probe()
    return _health(page_of(report, report.is_ready, report.reasons()), report.is_ready)


def _metrics(probe: Probe) -> Answer:
    return Answer(HTTPStatus.OK, exposition(probe().families).encode(), CONTENT_TYPE)


PAGES: Mapping[bytes, Callable[[Probe], Answer]] = {
    b"/healthz": _healthz,
    b"/readyz": _readyz,
    b"/metrics": _metrics,
}


def _health(page: Mapping[str, object], is_good: bool) -> Answer:
    status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, json.dumps(page).encode() + b"\n", _JSON)


def _problem(status: HTTPStatus, detail: str = "") -> Answer:
    return Answer(status, f"{status.phrase}{': ' if detail else ''}{detail}\n".encode())


def _encoded(answer: Answer, *, is_head: bool) -> bytes:
    lines = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        *(["Allow: GET, HEAD"] if answer.status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        "Cache-Control: no-store",
        "Connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode("ascii") + (b"" if is_head else answer.body)

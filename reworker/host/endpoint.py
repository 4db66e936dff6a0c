"""The HTTP server of operators: `/healthz`, `/readyz`, `/metrics`; one thread, and bounds for everything."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import selectors
import socket
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Self

from reworker.clock import Clock, SystemClock
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
#: seconds between two looks for clients that have taken too long.
LOOK_S = 1.0
#: connections at one time; those above are closed unread.
CONNECTION_COUNT = 32
#: seconds without a look at new clients when the process cannot take one; they wait in the kernel.
EXHAUSTED_PAUSE_S = 1.0
#: what the process or the machine has too little of, and has again when others have ended.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: digits of the highest port.
PORT_DIGITS = 5
_END = b"\r\n\r\n"
_JSON = "application/json"


class Answer(NamedTuple):
    """What is sent back."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"


class Talk:
    """One connection: a request is read, the answer sent, and what the client says after that dropped.

    Args:
        client: not blocking.
        until_mono_s: when it is over in any case.
    """

    def __init__(self, client: socket.socket, until_mono_s: float) -> None:
        self.client, self.until_mono_s = client, until_mono_s
        self._request, self._answer = b"", b""
        self._is_answered = False

    def go_on(self, answer_to: Callable[[bytes], bytes]) -> int:
        """Do what can be done without waiting; return what to wait for, or 0 when the talk is over."""
        try:
            if self._answer:
                return self._send()
            data = self.client.recv(REQUEST_BYTES)
        except BlockingIOError:
            return selectors.EVENT_WRITE if self._answer else selectors.EVENT_READ
        except OSError:
            return 0
        if not data:
            return 0
        if not self._is_answered:
            self._request += data
            if _END in self._request or len(self._request) > REQUEST_BYTES:
                self._answer, self._is_answered = answer_to(self._request), True
                return selectors.EVENT_WRITE
        return selectors.EVENT_READ

    def _send(self) -> int:
        self._answer = self._answer[self.client.send(self._answer) :]
        if self._answer:
            return selectors.EVENT_WRITE
        # Not closed yet: what is unread would take the answer back from the network.
        self.client.shutdown(socket.SHUT_WR)
        return selectors.EVENT_READ


class Endpoint:
    """Answers until closed; a context.

    `start` binds on the caller's thread, so that an address in use is an error there. What a client sends can
    cost no more than one of its connections, for a few seconds.

    Args:
        address: ``PORT``, ``HOST:PORT`` or ``[ADDRESS]:PORT``; port 0 takes a free one.
        probe: asked for the state at each request.
        clock: limits how long a client may take.
    """

    def __init__(self, address: str, probe: Probe, *, clock: Clock | None = None) -> None:
        self._host, self._port = address_of(address)
        self._probe, self._clock = probe, clock or SystemClock()
        self._talks: dict[socket.socket, Talk] = {}
        self._accept_again_mono_s: float | None = None
        self._is_ending = self._is_exhausted = False
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers; after `start`."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Begin to answer.

        Raises:
            ConfigError: it cannot listen there.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        place = (self._host, self._port)
        try:
            self._listener = socket.create_server(place, family=family, backlog=CONNECTION_COUNT)
        except (OSError, UnicodeError) as error:
            reason = (
                f"cannot listen on {self._host}:{self._port}: {error}; give an address that is ours and free"
            )
            raise ConfigError(reason, key="health") from error
        self._listener.setblocking(False)
        self._waker, self._wake = socket.socketpair()
        logger.info("health and metrics at %s", self.url)
        self._thread.start()

    def close(self) -> None:
        """Stop answering. Safe twice."""
        self._is_ending = True
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                self._wake.send(b"x")
            self._thread.join(EXCHANGE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener, self._waker, self._wake:
            for one in (self._listener, self._waker):
                selector.register(one, selectors.EVENT_READ)
            while not self._is_ending:
                try:
                    self._turn(selector)
                except Exception:  # top of the thread: one client must not end it
                    logger.exception("a request for health or metrics met an error")
            for client in list(self._talks):
                self._part(selector, client)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        for key, _ in selector.select(LOOK_S):
            client = key.fileobj
            if client is self._listener:
                self._accept(selector)
            elif isinstance(client, socket.socket) and client in self._talks:
                wanted = self._talks[client].go_on(self._reply_to)
                if wanted:
                    selector.modify(client, wanted)
                else:
                    self._part(selector, client)
        now_s = self._clock.mono_s()
        for client in [one for one, talk in self._talks.items() if talk.until_mono_s < now_s]:
            self._part(selector, client)
        if self._accept_again_mono_s is not None and self._accept_again_mono_s <= now_s:
            self._accept_again_mono_s = None
            selector.register(self._listener, selectors.EVENT_READ)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._pause(selector, error)
            return  # else it was gone before it was accepted
        self._is_exhausted = False
        if len(self._talks) >= CONNECTION_COUNT:
            client.close()
            return
        client.setblocking(False)
        self._talks[client] = Talk(client, self._clock.mono_s() + EXCHANGE_S)
        selector.register(client, selectors.EVENT_READ)

    def _pause(self, selector: selectors.BaseSelector, error: OSError) -> None:
        """Look away for a moment: a client that cannot be taken stays, and would be reported without end."""
        if not self._is_exhausted:
            logger.error("health and metrics cannot take a connection, trying on: %s", error)
        self._is_exhausted = True
        self._accept_again_mono_s = self._clock.mono_s() + EXHAUSTED_PAUSE_S
        selector.unregister(self._listener)

    def _part(self, selector: selectors.BaseSelector, client: socket.socket) -> None:
        del self._talks[client]
        selector.unregister(client)
        client.close()

    def _reply_to(self, request: bytes) -> bytes:
        head, end, _ = request.partition(_END)
        if not end:
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
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= PORT_DIGITS else -1
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

"""Requests to one server: JSON, text and packages; tried again where that is right.

A request that the server may have carried out already is not repeated, unless it only asks.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from reworker import __version__
from reworker.backoff import delay_s
from reworker.errors import ReworkerError, ServerAway
from reworker.iron.refusals import refusal
from reworker.iron.settings import IronSettings

#: answers that say: later. Source: the public clients of IronWorker.
LATER = (503, 504)
#: tries of a request, and those of one that no server has answered yet.
TRY_COUNT, FIRST_TRY_COUNT = 6, 3
#: seconds between two tries, at least and at most; and the longest that a server may ask for.
BASE_S, CAP_S, MOST_ASKED_S = 0.5, 8.0, 30.0
#: bytes that are read at once, and the longest JSON.
PIECE_BYTES, JSON_BYTES = 64 << 10, 64 << 20

#: makes the body of a request anew for each try, with its length in bytes.
Body = tuple[Callable[[], Iterable[bytes]], int]


class Link:
    """Requests to one server; one thread.

    Args:
        settings: where it is.
        pause: waits for seconds.
        rand: see `backoff.delay_s`.
    """

    def __init__(
        self,
        settings: IronSettings,
        *,
        pause: Callable[[float], object] = time.sleep,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self.settings, self.pause, self._rand = settings, pause, rand
        self._opener = _opener(settings.url)
        self._has_answered = False

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        about: tuple[str, str] = ("", ""),
    ) -> Any:
        """Return the JSON of an answer.

        Args:
            method: of HTTP.
            path: below the project, or below the version when it begins with ``/``.
            body: becomes JSON.
            query: of the address; None and empty values are left out.
            about: see `refusals.refusal`.

        Raises:
            ServerAway: no answer came that makes sense.
            NotAuthenticated, Forbidden, ThingNotFound, TaskRefused: what the server says.
        """
        raw = None if body is None else json.dumps(body).encode()
        sent = None if raw is None else (lambda: (raw,), len(raw))
        with self.opened(method, path, sent, about=about, query=query) as response:
            return self._json(self._read(response))

    def send(self, path: str, body: Body, content_type: str) -> Any:
        """Post a body that is made while it is sent; return the JSON of the answer. Raises as `ask`."""
        with self.opened("POST", path, body, content_type=content_type) as response:
            return self._json(self._read(response))

    @contextlib.contextmanager
    def opened(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        content_type: str = "application/json",
        about: tuple[str, str] = ("", ""),
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[HTTPResponse]:
        """Give an answer that is a success, for as long as it is read. Raises as `ask`."""
        tried_count = 0
        while True:
            tried_count += 1
            try:
                response = self._once(method, path, body, content_type, query or {})
            except (OSError, http.client.HTTPException) as error:
                self._after_silence(error, method, tried_count)
                continue
            if 200 <= response.status < 300:
                break
            with response:
                self._after_answer(response, path, about, tried_count)
        try:
            with response:
                yield response
        except (OSError, http.client.HTTPException) as error:
            raise ServerAway(self.settings.url, f"its answer broke off: {_why(error)}") from error

    def _once(
        self, method: str, path: str, body: Body | None, content_type: str, query: Mapping[str, Any]
    ) -> HTTPResponse:
        headers = {
            "Authorization": f"OAuth {self.settings.token}",
            "Accept": "*/*",
            "User-Agent": f"reworker/{__version__}",
        }
        data = None
        if body is not None:
            make, length = body
            headers |= {"Content-Type": content_type, "Content-Length": str(length)}
            data = make()
        request = urllib.request.Request(self._address(path, query), data, headers, method=method)
        try:
            response: HTTPResponse = self._opener.open(request, timeout=self.settings.timeout_s)
        except urllib.error.URLError as error:
            if isinstance(error.reason, OSError):
                raise error.reason from error
            raise
        self._has_answered = True
        return response

    def _address(self, path: str, query: Mapping[str, Any]) -> str:
        settings = self.settings
        place = (
            path if path.startswith("/") else f"/projects/{quoted(settings.project_id)}/{path}".rstrip("/")
        )
        kept = {name: value for name, value in query.items() if value not in (None, "")}
        return f"{settings.url}/{settings.api_version}{place}" + (f"?{urlencode(kept)}" if kept else "")

    def _after_silence(self, error: Exception, method: str, tried_count: int) -> None:
        """Wait for the next try after none, or half of an answer, or say that there is none."""
        most = TRY_COUNT if self._has_answered else FIRST_TRY_COUNT
        was_not_sent = isinstance(error, ConnectionRefusedError | socket.gaierror)
        if tried_count < most and (was_not_sent or method == "GET"):
            self._wait(tried_count)
            return
        doubt = "" if was_not_sent or method == "GET" else "; it may have been carried out all the same"
        raise ServerAway(self.settings.url, f"{_why(error)}{doubt}") from error

    def _after_answer(
        self, response: HTTPResponse, path: str, about: tuple[str, str], tried_count: int
    ) -> None:
        """Wait for the next try after an answer that says so, or raise what it says."""
        text = response.read(PIECE_BYTES)
        if response.status not in LATER or tried_count >= TRY_COUNT:
            raise refusal(response.status, text, path, self.settings, about=about)
        self._wait(tried_count, response.headers.get("Retry-After", ""))

    def _wait(self, tried_count: int, asked: str = "") -> None:
        own_s = delay_s(tried_count, base_s=BASE_S, cap_s=CAP_S, rand=self._rand)
        self.pause(min(float(asked), MOST_ASKED_S) if asked.isdigit() else own_s)

    def _read(self, response: HTTPResponse) -> bytes:
        text = bytearray()
        for piece in pieces_of(response):
            text += piece
            if len(text) > JSON_BYTES:
                raise ServerAway(self.settings.url, f"its answer has more than {JSON_BYTES} bytes")
        return bytes(text)

    def _json(self, text: bytes) -> Any:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise ServerAway(self.settings.url, "its answer is no JSON; is it a reworker server?") from error
        if not isinstance(found, dict):
            raise ServerAway(self.settings.url, "its answer is no JSON object; is it a reworker server?")
        return found


class Linked:
    """What the parts of a client stand on."""

    _link: Link

    def _at(self, project_id: str) -> Link:
        """Return the link to another project of the server, or to that of the settings."""
        if not project_id:
            return self._link
        return Link(replace(self._link.settings, project_id=project_id), pause=self._link.pause)


def pieces_of(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of an answer.

    Raises:
        IncompleteRead: it ends too early, which `HTTPResponse.read` passes over; `Link.opened` translates it.
    """
    while piece := response.read(PIECE_BYTES):
        yield piece
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def quoted(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    text = str(getattr(error, "strerror", None) or error or type(error).__name__)
    return f"{text}; the protocol is http or https" if isinstance(error, ssl.SSLError) else text


class _EveryAnswer(urllib.request.HTTPErrorProcessor):
    """Hand on answers as they are: a redirection would take the token along."""

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> HTTPResponse:
        del request
        return response

    https_response = http_response


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens addresses; proxies of the environment count, but not for this machine."""
    host = urlsplit(url).hostname or ""
    is_here = host in ("localhost", "::1") or host.startswith("127.")
    proxies = [urllib.request.ProxyHandler({})] if is_here else []
    return urllib.request.build_opener(_EveryAnswer, *proxies)


def raised_by(ask: Callable[[], object]) -> ReworkerError | None:
    """Return the error of a request, if it has one."""
    try:
        ask()
    except ReworkerError as error:
        return error
    return None

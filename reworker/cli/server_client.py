"""Talking to a server of ours over its API: one request at a time, its problems as the errors they are."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlencode, urlsplit

from reworker import __version__
from reworker.cli.sent_form import SentForm
from reworker.errors import (
    ConfigError,
    DeploymentNotFound,
    Forbidden,
    LetterNotFound,
    LetterStays,
    NotAuthenticated,
    NothingChanged,
    NotResumable,
    PlaybookInvalid,
    PlaybookNotFound,
    ReworkerError,
    ServerAway,
)
from reworker.task_errors import PackageInvalid, TaskRefused
from reworker.topology.names import DEAD_QUEUE

#: seconds that one request may take.
ANSWER_S = 30.0
#: seconds between two tries of a request that may be made twice.
TRY_AGAIN_S = 0.5
#: tries of the first request, and of those to a server that has answered before: it may be starting anew.
FIRST_TRY_COUNT, TRY_COUNT = 3, 120
_PREFIX = "urn:reworker:problem:"
_MISSING: Mapping[str, Callable[[str], ReworkerError]] = {
    "deployment-not-found": DeploymentNotFound,
    "playbook-not-found": PlaybookNotFound,
    "letter-not-found": lambda own_id: LetterNotFound(own_id, DEAD_QUEUE),
}
_NAMED = re.compile(r"/(?:deployments|playbooks|dead-letters)/([^/]+)")


class ServerClient:
    """Requests to one server; one thread.

    Args:
        url: of the server, for example ``https://releases.example.com``.
        token: for each request.

    Raises:
        ConfigError: the URL is none of http or https.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        is_place = bool(parts.netloc) and "@" not in parts.netloc and not (parts.query or parts.fragment)
        if parts.scheme not in ("http", "https") or not is_place or not url.isprintable():
            raise ConfigError(f"{url!r} is not http://HOST:PORT or https://HOST", key="--server")
        self.url, self._token = url.rstrip("/"), token
        # A token must not follow to another place.
        self._opener = urllib.request.build_opener(_NoRedirection, _Plain, _Secure)
        self._pause = threading.Event()
        self._has_answered = False

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer to a question; see `ask`."""
        return self.ask("GET", path, query=query)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        key: str = "",
    ) -> Any:
        """Return the answer to a request.

        Args:
            method: of HTTP.
            path: below ``/api/v1``, its parts quoted by `part`.
            body: becomes JSON.
            query: for the address; empty values are left out.
            key: idempotency key, with which a request may be made again.

        Raises:
            ServerAway: no answer came.
            ReworkerError: what the server says is wrong.
        """
        headers = {
            **({"Content-Type": "application/json"} if body is not None else {}),
            **({"Idempotency-Key": key} if key else {}),
        }
        data = None if body is None else json.dumps(body).encode()
        request = self._request(method, path, query or {}, data, headers)
        may_repeat = method == "GET" or bool(key)
        try_count = TRY_COUNT if self._has_answered else FIRST_TRY_COUNT
        for _ in range(try_count - 1 if may_repeat else 0):
            try:
                return self._answer(request)
            except ServerAway:
                self._pause.wait(TRY_AGAIN_S)
        return self._answer(request)

    def send_form(self, path: str, form: SentForm) -> Any:
        """Return the answer to a form with a file; see `ask`."""
        headers = {"Content-Type": form.content_type, "Content-Length": str(form.size_bytes)}
        return self._answer(self._request("POST", path, {}, form, headers))

    @contextmanager
    def opened(self, path: str, **query: Any) -> Iterator[http.client.HTTPResponse]:
        """Give the answer to a question that is no JSON, to be read within the block; see `ask`."""
        request = self._request("GET", path, query)
        with self._translated(), self._opener.open(request, timeout=ANSWER_S) as response:
            yield response

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        data: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> urllib.request.Request:
        kept = {name: value for name, value in query.items() if value not in ("", None)}
        url = f"{self.url}/api/v1{path}" + (f"?{urlencode(kept, doseq=True)}" if kept else "")
        own = {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            "User-Agent": f"reworker/{__version__}",
        }
        return urllib.request.Request(url, data, {**own, **(headers or {})}, method=method)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as error:
            with error:
                _refuse(error.code, error.read(), self.url)
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            raise ServerAway(self.url, str(getattr(error, "reason", None) or error)) from error

    def _answer(self, request: urllib.request.Request) -> Any:
        with self._translated(), self._opener.open(request, timeout=ANSWER_S) as response:
            text = response.read()
        self._has_answered = True
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise ServerAway(self.url, f"its answer is no JSON: {error}; is it a reworker server?") from error


def part(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")


def _refuse(status: int, text: bytes, url: str) -> NoReturn:
    """Raise the error that an answer speaks of."""
    try:
        problem = json.loads(text)
        name = str(problem["type"]).removeprefix(_PREFIX)
        detail = str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        raise ServerAway(url, f"it answered {status} and no reason; is it a reworker server?") from None
    raise _error_of(name, detail, problem, status, url)


def _error_of(name: str, detail: str, problem: Mapping[str, Any], status: int, url: str) -> ReworkerError:
    if name == "playbook-invalid":
        reason, line = str(problem.get("reason") or detail), int(problem.get("line") or 0)
        return PlaybookInvalid(reason, line=line, path=str(problem.get("path") or ""))
    if name in _MISSING:
        found = _NAMED.search(str(problem.get("instance", "")))
        return _MISSING[name](unquote(found[1]) if found else "")
    if name == "letter-stays":
        return LetterStays(detail, needs=str(problem.get("needs") or ""))
    if name == "task-refused":
        field = str(problem.get("path") or "")
        return TaskRefused(detail.removeprefix(f"{field}: "), field=field)
    kinds = {
        "package-invalid": PackageInvalid,
        "not-authenticated": NotAuthenticated,
        "forbidden": Forbidden,
        "not-resumable": NotResumable,
        "nothing-changed": NothingChanged,
    }
    if name in kinds:
        return kinds[name](detail)
    if status in (502, 503, 504):
        return ServerAway(url, detail)
    return ConfigError(detail) if status == 422 else ReworkerError(detail)


class _PlainConnection(http.client.HTTPConnection):
    """Hears a server that answers before it has read all, and hangs up: what it says counts."""

    def send(self, data: Any) -> None:
        """Send, as far as the server listens."""
        if self.sock is None:
            self.connect()
        with suppress(BrokenPipeError, ConnectionResetError):
            super().send(data)


class _SecureConnection(_PlainConnection, http.client.HTTPSConnection):
    """The same over TLS."""


class _Plain(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PlainConnection, req)


class _Secure(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for what it is here: the wrong address."""

    def redirect_request(self, *_arguments: Any, **_others: Any) -> None:
        """Follow none."""

"""One HTTP request of a job: no redirect is followed, all of it has one deadline, the answer a limit.

Also what URLs a worker may be sent to: those below a base that its settings name.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from reworker.errors import JobError, JobFailed, JobUnknown
from reworker.jobs.http_link import Deadline, opened

#: ports of the schemes that are spoken.
PORTS = {"http": 80, "https": 443}


class HttpAnswer(msgspec.Struct, frozen=True):
    """What a server answered; names of headers are in lower case, `body` has at most the bytes asked for."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    is_cut: bool


def http_call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout_s: float,
    limit_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """Make a request and return the answer, whatever its status.

    Args:
        method: in capitals.
        url: of `checked_url`.
        headers: beside those that HTTP itself needs.
        body: None is none.
        timeout_s: seconds for all of it together, from looking for the name to the end of the answer.
        limit_bytes: the body of the answer is cut there.
        tls: for https; None is the system's trust store.

    Raises:
        JobFailed: nothing was sent: no connection, or no trust.
        JobUnknown: it was sent, at least in part, and there is no whole answer.
    """
    parts = urlsplit(url)
    deadline = Deadline(timeout_s)
    context = _tls_for(parts, tls)
    connection = _connection(parts, timeout_s, context)
    is_sent = False
    try:
        with deadline:
            port = parts.port or PORTS[parts.scheme]
            connection.sock = opened(parts.hostname or "", port, deadline, context)
            is_sent = True
            connection.request(method, _target(parts), body, dict(headers))
            with connection.getresponse() as response:  # the connection may have let go of it already
                answer = _read(response, limit_bytes)
            deadline.check()
            return answer
    except (OSError, http.client.HTTPException) as error:
        why = f"no answer within {timeout_s:g} s" if deadline.is_over(error) else f"{error or type(error)}"
        kind: type[JobError] = JobUnknown if is_sent else JobFailed
        raise kind(f"{method} {parts.scheme}://{parts.netloc}: {why}") from error
    finally:
        connection.close()


def checked_url(text: str) -> str:
    """Return the URL; two readers of it cannot take it for two different places.

    Raises:
        ValueError: no http or https URL, or one with a password, a fragment, odd characters or ``..``.
    """
    if not text.isascii() or not text.isprintable() or any(char in ' "\\<>^`{|}' for char in text):
        raise ValueError(f"{text!r:.200} has characters that no URL has; write them as %XX")
    parts = urlsplit(text)
    if parts.scheme not in PORTS or not parts.hostname or parts.port == 0:
        raise ValueError(f"{text!r:.200} is no http or https URL")
    if "@" in parts.netloc or "#" in text:
        raise ValueError(f"an URL of {parts.hostname} has a user, a password or a fragment; leave that out")
    segments = unquote(parts.path).replace("\\", "/").split("/")
    if "." in segments or ".." in segments:
        raise ValueError(f"{text!r:.200} goes up or stays in its path; write the path that is meant")
    return text


def is_url_below(url: str, base: str) -> bool:
    """Tell whether a checked URL has the origin of another one, and its path or one below."""
    one, other = urlsplit(url), urlsplit(base)
    if _origin(one) != _origin(other):
        return False
    top = other.path.rstrip("/")
    return one.path in (top, other.path) or one.path.startswith(f"{top}/")


def _connection(parts: SplitResult, timeout_s: float, tls: ssl.SSLContext | None) -> Any:
    """Return what speaks HTTP over a socket that it is given; it adds the port to the name of the host."""
    if tls is not None:
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout_s, context=tls)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)


def _tls_for(parts: SplitResult, tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    if parts.scheme != "https":
        return None
    return tls if tls is not None else ssl.create_default_context()


def _target(parts: SplitResult) -> str:
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def _read(response: http.client.HTTPResponse, limit_bytes: int) -> HttpAnswer:
    body = response.read(limit_bytes + 1)
    is_cut = len(body) > limit_bytes
    if not is_cut and response.length:
        raise http.client.IncompleteRead(body, response.length)
    headers = {name.lower(): value for name, value in response.getheaders()}
    return HttpAnswer(response.status, response.reason, headers, body[:limit_bytes], is_cut)


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]

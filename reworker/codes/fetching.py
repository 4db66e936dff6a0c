"""Fetching a code package from the server into a file, a piece at a time."""

from __future__ import annotations

import errno
import hashlib
import http.client
import random
import ssl
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn
from urllib.parse import urlsplit

import msgspec

from reworker.backoff import delay_s
from reworker.clock import Clock
from reworker.codes.packages import MOST_BYTES
from reworker.errors import JobFailed, JobRetry
from reworker.jobs.http_link import Deadline, opened

#: bytes that are read at once.
_CHUNK_BYTES = 64 << 10
#: seconds that one try may take: the largest package at 2 MB a second.
TRY_S = 150.0
#: seconds after which a task is tried again whose package did not come; its message waits at the broker.
AGAIN_S = (5, 10, 30, 60)
#: what is wrong with the disk here, not with the server or the package: another worker may have a better one.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
#: seconds between two tries, at first and at most.
PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
#: bytes of an answer that says why not.
_REASON_BYTES = 500


class Source(msgspec.Struct, frozen=True):
    """Where packages come from.

    Args:
        server: URL of ``reworker web``.
        token: that may download.
        timeout_s: seconds for which a server that is away is waited for.
        tls: for https; None is the system's trust store.
    """

    server: str
    token: str
    timeout_s: float
    tls: ssl.SSLContext | None = None


class _TryAgain(Exception):
    """There is no answer now; there may be one later."""


def fetch(source: Source, path: str, file: BinaryIO, sleep: Callable[[float], None], clock: Clock) -> str:
    """Write what the server has at a path into a file; return its SHA-256 in hexadecimal.

    Args:
        source: where it comes from.
        path: below the server's URL, beginning with ``/``.
        file: empty; it is written anew at every try.
        sleep: waits between two tries; raises what ends the wait.
        clock: for how long it is tried.

    Raises:
        JobFailed: the server has no such package.
        JobRetry: the server was away for too long, or does not give it to us.
        OSError: the file cannot be written, see `DISK_ERRORS`.
    """
    deadline_mono_s = clock.mono_s() + source.timeout_s
    tries = 0
    while True:
        try:
            return _fetched(source, path, file)
        except _TryAgain as error:
            tries += 1
            pause_s = delay_s(tries, base_s=PAUSE_S, cap_s=LONGEST_PAUSE_S, rand=random.random)
            if clock.mono_s() + pause_s >= deadline_mono_s:
                text = f"{source.server} did not give the package within {source.timeout_s:g} s: {error}"
                raise JobRetry(AGAIN_S, text) from error
            sleep(pause_s)


def _fetched(source: Source, path: str, file: BinaryIO) -> str:
    parts = urlsplit(source.server)
    is_tls = parts.scheme == "https"
    context = (source.tls or ssl.create_default_context()) if is_tls else None
    deadline = Deadline(TRY_S)
    kind: Any = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port)
    headers = {"Accept": "application/zip"}
    if source.token:
        headers["Authorization"] = f"OAuth {source.token}"
    try:
        with deadline:
            port = parts.port or (443 if is_tls else 80)
            connection.sock = opened(parts.hostname or "", port, deadline, context)
            connection.request("GET", f"{parts.path.rstrip('/')}{path}", headers=headers)
            with connection.getresponse() as response:
                digest = _stored(response, file)
            deadline.check()
            return digest
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        raise _TryAgain(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def _stored(response: http.client.HTTPResponse, file: BinaryIO) -> str:
    if response.status != http.client.OK:
        _refuse(response)
    file.seek(0)
    file.truncate()
    sha256, size_bytes = hashlib.sha256(), 0
    while part := response.read(_CHUNK_BYTES):
        size_bytes += len(part)
        if size_bytes > MOST_BYTES:
            _fail(f"the package has more than {MOST_BYTES} bytes")
        sha256.update(part)
        file.write(part)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    file.flush()
    return sha256.hexdigest()


def _refuse(response: http.client.HTTPResponse) -> NoReturn:
    said = response.read(_REASON_BYTES).decode("utf-8", "replace")
    words = f"{response.status} {response.reason}: {said}"
    if response.status >= http.client.INTERNAL_SERVER_ERROR or response.status in (408, 429):
        raise _TryAgain(words)
    if response.status in (401, 403):
        # Not the task's fault: a worker whose token has run out must not end all tasks there are.
        text = (
            f"the server does not give the package to this worker ({words}): give it a token of scope worker"
        )
        raise JobRetry(AGAIN_S, text)
    _fail(f"the server has no such package any more ({words})")


def _fail(text: str) -> NoReturn:
    raise JobFailed(text, {"status": "error", "exit_code": None})

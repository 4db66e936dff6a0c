"""Files that clients send: taken in as they come, to a temporary file, bounded in size and time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from typing import IO, NamedTuple, NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from reworker.web.bodies import require_type
from reworker.web.errors import HttpProblem
from reworker.web.multipart import MEMORY_BYTES, MultipartForm

#: seconds a client may take to send a file.
UPLOAD_S = 900.0
#: bytes that are written at once.
_CHUNK_BYTES = 1 << 20
FORM_TYPE = "multipart/form-data"


class Upload(NamedTuple):
    """What a client has sent: a file alone, or a form with files."""

    file: IO[bytes] | None
    form: MultipartForm | None = None

    def close(self) -> None:
        """Forget it. Safe twice."""
        if self.file is not None:
            self.file.close()
        if self.form is not None:
            self.form.close()


async def read_upload(request: Request, file_types: Sequence[str], limit_bytes: int) -> Upload:
    """Return a file of one of these media types, or a form with files; the caller closes it.

    Raises:
        HttpProblem: as of `spooled` and `read_form`, and 415 it is something else.
    """
    require_type(request, (*file_types, FORM_TYPE))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        return Upload(None, await read_form(request, limit_bytes))
    return Upload(await spooled(request, limit_bytes))


async def spooled(request: Request, limit_bytes: int, timeout_s: float = UPLOAD_S) -> IO[bytes]:
    """Return the body of a request as a file, at its beginning; the caller closes it.

    Raises:
        HttpProblem: 413 it is larger than the limit, 408 it takes too long, 400 the client went away.
    """
    file: IO[bytes] = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  # for the caller
    try:
        await _take(request, file.write, limit_bytes, timeout_s)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def read_form(request: Request, limit_bytes: int, timeout_s: float = UPLOAD_S) -> MultipartForm:
    """Return a form with files; the caller closes it.

    Raises:
        HttpProblem: as of `spooled`, and 400 it is no such form.
    """
    form = MultipartForm(request.headers.get("content-type", ""))
    try:
        await _take(request, form.feed, limit_bytes, timeout_s)
        form.end()
    except BaseException:
        form.close()
        raise
    return form


async def _take(
    request: Request, write: Callable[[bytes], object], limit_bytes: int, timeout_s: float
) -> None:
    """Pass a body on in large pieces, on a thread: a disk may be slow."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit_bytes:
        _refuse_size(limit_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            async for piece in _pieces(request, limit_bytes):
                await run_in_threadpool(write, piece)
    except TimeoutError as error:
        reason = f"the file did not arrive within {timeout_s:g} s"
        raise HttpProblem(408, "body-too-slow", reason) from error
    except ClientDisconnect as error:
        raise HttpProblem(400, "body-incomplete", "the connection ended within the file") from error


async def _pieces(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield a body in large pieces, up to the limit."""
    size_bytes, waiting = 0, bytearray()
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            _refuse_size(limit_bytes)
        waiting += chunk
        if len(waiting) >= _CHUNK_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)


def _refuse_size(limit_bytes: int) -> NoReturn:
    raise HttpProblem(413, "body-too-large", f"the body is larger than {limit_bytes} bytes, the limit here")

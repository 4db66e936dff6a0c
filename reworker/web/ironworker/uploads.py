"""The upload of a code package: a body of two parts, in either order, of any size up to the limit.

The package is written to a temporary file as it comes, checked there, and stored from there in pieces.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing, contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from reworker.codes.packages import MOST_BYTES, check_package
from reworker.core.principal import Principal, Scope
from reworker.core.tasks.codes import CodeDraft, decoded_options
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.options import CodeOptions
from reworker.storage.task_rows import ProjectRow
from reworker.task_errors import PackageInvalid, ThingNotFound
from reworker.web.bodies import BODY_S, json_of
from reworker.web.context import Site, site_of
from reworker.web.errors import HttpProblem
from reworker.web.ironworker import python_bytes
from reworker.web.ironworker.asking import (
    Call,
    Document,
    answer,
    done,
    known,
    media_type_of,
    shows_token,
)
from reworker.web.ironworker.values import (
    missing,
    number_of,
    priority_of,
    refuse,
    text_of,
    whole_of,
    within,
)
from reworker.web.multipart import MultipartForm
from reworker.web.routes import Endpoint
from reworker.web.uploads import FORM_TYPE, UPLOAD_S, read_form

#: bytes of a body from somebody who shows a token only in it.
UNKNOWN_BYTES = 16 << 20
#: bytes of a body: a package that is written as Python writes bytes has up to four times its size.
BODY_BYTES = 4 * MOST_BYTES
#: bytes of a package that are in memory at once while it is stored.
PIECE_BYTES = 1 << 20
#: tasks of one code that can run at once at most; a larger number is not set.
MOST_AT_ONCE = 1_000_000
_TEXTS = ("config", "result_queue", "result_url")
#: programs that a command may begin with -> the runtime of the file behind it.
_PROGRAMS = {"sh": "sh", "bash": "sh", "python": "python", "python3": "python", "python2": "python"} | {
    name: name for name in ("node", "ruby", "php", "perl")
}


def endpoint_beside(listing: Call) -> Endpoint:
    """Return what answers an address where codes are uploaded by POST and listed by GET."""

    async def endpoint(request: Request) -> Response:
        if request.method == "POST":
            return answer(await _taken(request))
        return answer(await done(request, listing))

    return endpoint


async def _taken(request: Request) -> Document:
    site, scopes = site_of(request), (Scope.PLAYBOOK_WRITE,)
    who = await known(site, request, scopes) if shows_token(site, request) else None
    if who is not None:
        # before anything is taken in
        await run_in_threadpool(_project, site, who, request)
    if media_type_of(request) != FORM_TYPE:
        reason = f"send {FORM_TYPE} with the parts data (JSON) and file (a zip file)"
        raise HttpProblem(406, "wrong-content-type", reason)
    try:
        bounds = (BODY_BYTES, UPLOAD_S) if who else (UNKNOWN_BYTES, BODY_S)
        form = await read_form(request, *bounds)
    except OSError as error:
        raise HttpProblem(507, "no-room", f"the package cannot be kept: {error.strerror}") from error
    with closing(form):
        data = await run_in_threadpool(_data, form)
        who = who or await known(site, request, scopes, data)
        core, project = await run_in_threadpool(_project, site, who, request)
        return await run_in_threadpool(_stored, core, project, data, _file(form))


def _data(form: MultipartForm) -> Document:
    """Return what is said of the package.

    Raises:
        HttpProblem: 406 it is missing, 400 it is no object.
    """
    part = form.part("data")
    text = part.text() if part is not None else ""
    if not text.strip():
        raise missing("data", "send what the package is as JSON in this part")
    found = json_of(text.encode())
    if not isinstance(found, dict):
        raise refuse("data", "is a JSON object")
    return found


def _file(form: MultipartForm) -> BinaryIO | None:
    """Return the package; None when there is none."""
    part = form.part("file")
    return None if part is None else cast(BinaryIO, part.file)


def _project(site: Site, who: Principal, request: Request) -> tuple[GuardedTasks, ProjectRow]:
    """Return the project of the address, into which somebody may upload."""
    core = GuardedTasks(site.service, site.access, who)
    project = core.projects.find(request.path_params["pid"])
    core.codes.require_upload(project)
    return core, project


def _stored(core: GuardedTasks, project: ProjectRow, data: Document, file: BinaryIO | None) -> Document:
    name = text_of(data, "name")
    if not name:
        raise missing("name", "give the code's name in the part data")
    options = _options(data, _before(core, project, name))
    if file is None:
        if text_of(data, "image"):
            reason = (
                "You do not have custom Docker images privilege. Images are not run here: send a zip file"
            )
            raise HttpProblem(400, "no-images", reason)
        row = core.codes.upload(project, CodeDraft(name, options=options), None)
    else:
        runtime, file_name = _entry(data)
        with _meant(file) as package:
            check_package(package, file_name)
            draft = CodeDraft(name, runtime, file_name, options)
            row = core.codes.upload(project, draft, _pieces(package))
    return {"msg": "Upload successful.", "id": row.id, "rev": row.rev, "status_code": 200}


def _before(core: GuardedTasks, project: ProjectRow, name: str) -> CodeOptions:
    try:
        return decoded_options(core.codes.named(project, name))
    except ThingNotFound:
        return CodeOptions()


def _options(data: Document, before: CodeOptions) -> CodeOptions:
    """Return the options of a code: those that are set, and those that it had."""
    delay_s = within(number_of(data, "retries_delay"), 0)
    most_count = within(whole_of(data, "max_concurrency"), 0, MOST_AT_ONCE)
    found = {
        "max_concurrency": None if most_count is None else int(most_count),
        "retries": _count(data, "retries"),
        "retries_delay_s": delay_s,
        "default_priority": priority_of(data, "default_priority"),
        "env_vars": _variables(data),
        **{key: text_of(data, key) for key in _TEXTS if data.get(key) is not None},
    }
    return msgspec.structs.replace(before, **{key: one for key, one in found.items() if one is not None})


def _count(data: Document, key: str) -> int | None:
    found = whole_of(data, key)
    return None if found is None or found < 0 else found


def _variables(data: Document) -> dict[str, str] | None:
    """Return variables of the environment; clients in PHP send an empty list for none.

    Raises:
        HttpProblem: 400 they are no object, or no process could have one of them.
    """
    found = data.get("env_vars")
    if found is None:
        return None
    if found == []:
        return {}
    if not isinstance(found, dict):
        raise refuse("env_vars", "takes an object")
    variables = {name: text_of(found, name) for name in found}
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise refuse("env_vars", f"no process can have the variable {name!a:.60}")
    return variables


def _entry(data: Document) -> tuple[str, str]:
    """Return (runtime, name of the file that is run); from the command of an image, if there is one instead.

    Raises:
        HttpProblem: 406 it is not said, 400 the command is more than a program and a file.
    """
    file_name = text_of(data, "file_name")
    if file_name:
        return text_of(data, "runtime"), file_name
    command = text_of(data, "command")
    if not command:
        raise missing("file_name", "name the file of the package that is to be run")
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if len(words) == 1:
        return "binary", words[0].removeprefix("./")
    if len(words) == 2 and words[0] in _PROGRAMS:
        return _PROGRAMS[words[0]], words[1].removeprefix("./")
    raise refuse("command", "takes a program and a file of the package, such as `python main.py`")


@contextmanager
def _meant(file: BinaryIO) -> Iterator[BinaryIO]:
    """Give the package for the block: the file as it came, or the bytes that a client in Python meant.

    Raises:
        PackageInvalid: it cannot be told what was meant.
    """
    if not python_bytes.is_written(file):
        yield file
        return
    with SpooledTemporaryFile(PIECE_BYTES) as whole:
        try:
            for piece in python_bytes.written_bytes(file):
                whole.write(piece)
        except ValueError as error:
            raise PackageInvalid(str(error)) from error
        yield cast(BinaryIO, whole)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece

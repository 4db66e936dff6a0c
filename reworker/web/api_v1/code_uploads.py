"""Uploads of code packages: a zip file as the body, or in a form beside its description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Annotated, BinaryIO, cast

import msgspec
from msgspec import Meta
from starlette.responses import Response

from reworker.codes.packages import MOST_BYTES, check_package
from reworker.core.principal import Scope
from reworker.core.tasks.code_settings import changed
from reworker.core.tasks.codes import NAME_CHARACTERS, PIECE_BYTES, CodeDraft, decoded_options
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.requests import NewCode, require_runnable
from reworker.core.tasks.views import Code
from reworker.storage.task_rows import CodeRow, ProjectRow
from reworker.task_errors import ThingNotFound
from reworker.web.api_v1.codes import ZIP_TYPE, shown_code
from reworker.web.api_v1.serving import tasks_of
from reworker.web.bodies import json_of
from reworker.web.errors import HttpProblem
from reworker.web.operations import JSON_TYPE, Call, Operation, converted

#: bytes of a request at most: a package, its description and what a form adds.
UPLOAD_BYTES = MOST_BYTES + (1 << 20)


class UploadQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a zip file that is the whole body is; a form says it in its part `data`.

    Args:
        name: of the code.
        project: id or name.
        runtime: such as sh, python, node or binary; docs/tasks.md has all.
        file_name: that is run, inside of the package.
    """

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS)] = ""
    project: str = DEFAULT_NAME
    runtime: str = ""
    file_name: str = ""


def _upload(call: Call) -> Response:
    asked, file = _asked(call)
    work = tasks_of(call)
    row, is_new = stored(work, asked, file)
    code = shown_code(work, row)
    headers = {"Location": f"/api/v1/codes/{row.id}"}
    return Response(msgspec.json.encode(code), 201 if is_new else 200, headers, JSON_TYPE)


def _asked(call: Call) -> tuple[NewCode, IO[bytes] | None]:
    """Return what is uploaded, and its file."""
    upload = call.upload
    assert upload is not None, "the operation takes an upload"
    if upload.form is None:
        query: UploadQuery = call.query
        return converted(msgspec.to_builtins(query), NewCode, "query"), upload.file
    if call.query != UploadQuery():
        raise HttpProblem(422, "invalid-query", "query: a form says everything in its part data")
    data, file = upload.form.part("data"), upload.form.part("file")
    if data is None:
        raise HttpProblem(422, "invalid-body", "body: data: the form has no part of this name")
    return converted(json_of(data.text().encode()), NewCode, "body"), file.file if file else None


def stored(work: GuardedTasks, asked: NewCode, file: IO[bytes] | None) -> tuple[CodeRow, bool]:
    """Check and store an upload in the name of who asks; tell whether it is a new revision.

    Raises:
        PackageInvalid: of the file.
        TaskRefused: of the rest.
    """
    project = work.projects.to_write(asked.project, "code.upload")
    work.codes.require_upload(project)
    if file is not None:
        require_runnable(asked)
        # it seeks and reads only
        check_package(cast(BinaryIO, file), asked.file_name)
    draft = CodeDraft(asked.name, asked.runtime, asked.file_name, _options(work, project, asked))
    return work.codes.upload(project, draft, _pieces(file) if file else None), file is not None


def _options(work: GuardedTasks, project: ProjectRow, asked: NewCode) -> CodeOptions | None:
    """Return the options that a code is to have; None leaves them."""
    if asked.is_empty:
        return None
    try:
        before = decoded_options(work.codes.named(project, asked.name))
    except ThingNotFound:
        before = CodeOptions()
    return changed(before, asked)


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while piece := file.read(PIECE_BYTES):
        yield piece


OPERATIONS = (
    Operation(
        method="POST",
        path="/codes",
        do=_upload,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Upload a code: a new one, or a new revision of one",
        description=(
            "The body is a zip file with its description in the query, or a form of two parts: `data`, "
            "JSON, and `file`, the zip file; without `file` only the options of a code are changed."
        ),
        tag="code",
        query=UploadQuery,
        form=NewCode,
        file_type=ZIP_TYPE,
        answer=Code,
        status=201,
        errors=(404,),
        body_bytes=UPLOAD_BYTES,
    ),
)

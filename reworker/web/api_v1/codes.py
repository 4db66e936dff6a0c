"""Code packages: list, get, revisions, download, change, pause, delete."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Scope
from reworker.core.tasks.code_settings import CodeSettings, changed
from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.views import Code, Revision, code_of, revision_of
from reworker.storage.task_rows import CodeRow
from reworker.task_errors import ThingNotFound
from reworker.web.api_v1.paging import PageQuery, offset_of, page_at
from reworker.web.api_v1.serving import tasks_of
from reworker.web.operations import Call, Operation

ZIP_TYPE = "application/zip"
_KIND, _REVISIONS = "codes", "revisions"

RevisionNumber = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Codes(msgspec.Struct, frozen=True):
    """A page of codes, newest first.

    Args:
        items: the codes.
        next: cursor of the next page; null at the end.
    """

    items: list[Code]
    next: str | None


class Revisions(msgspec.Struct, frozen=True):
    """A page of revisions of a code, newest first.

    Args:
        items: the revisions.
        next: cursor of the next page; null at the end.
    """

    items: list[Revision]
    next: str | None


class CodeQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which codes.

    Args:
        project: id or name; empty is any that may be seen.
        name: of the code, which is unique in a project; needs `project`.
    """

    project: str = ""
    name: str = ""


class DownloadQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which revision.

    Args:
        revision: its number; 0 is the newest.
    """

    revision: RevisionNumber = 0


class Stopped(msgspec.Struct, frozen=True):
    """What became of the tasks of a code.

    Args:
        cancelled: how many were told to end.
    """

    cancelled: int


def shown_code(work: GuardedTasks, row: CodeRow) -> Code:
    """Return a code as it is shown to who asks."""
    try:
        newest = work.codes.revision(row)
    except ThingNotFound:
        newest = None
    return code_of(row, work.rights.project(row.project_id).name, newest)


def _list(call: Call) -> Codes:
    query: CodeQuery = call.query
    work, offset = tasks_of(call), offset_of(query, _KIND)
    project = work.projects.find(query.project) if query.project or query.name else None
    if project is not None and query.name:
        return Codes(_named(work, project.id, query.name), None)
    rows = work.codes.codes(project, limit=query.limit + 1, offset=offset)
    items, after = page_at(query, _KIND, rows, offset, lambda row: shown_code(work, row))
    return Codes(items, after)


def _named(work: GuardedTasks, project_id: str, name: str) -> list[Code]:
    try:
        return [shown_code(work, work.codes.named(work.rights.project(project_id), name))]
    except ThingNotFound:
        return []


def _row(call: Call, work: GuardedTasks) -> CodeRow:
    return work.codes.code(call.path["code_id"])


def _get(call: Call) -> Code:
    work = tasks_of(call)
    return shown_code(work, _row(call, work))


def _revisions(call: Call) -> Revisions:
    query, work = call.query, tasks_of(call)
    offset, row = offset_of(query, _REVISIONS), _row(call, work)
    rows = work.codes.revisions(row, limit=query.limit + 1, offset=offset)
    items, after = page_at(query, _REVISIONS, rows, offset, revision_of)
    return Revisions(items, after)


def _download(call: Call) -> Response:
    work = tasks_of(call)
    return package_response(work, _row(call, work), call.query.revision)


def package_response(work: GuardedTasks, code: CodeRow, rev: int) -> Response:
    """Return the bytes of a package, a piece at a time; 0 is the newest revision."""
    revision = work.codes.revision(code, rev)
    name = quote(f"{code.name}_{revision.rev}.zip", safe="")
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
        "Content-Length": str(revision.size_bytes),
        "ETag": f'"{revision.digest}"',
    }
    return StreamingResponse(work.codes.package(revision), headers=headers, media_type=ZIP_TYPE)


def _change(call: Call) -> Code:
    work = tasks_of(call)
    row = _row(call, work)
    work.codes.change_options(row, changed(decoded_options(row), call.body))
    return shown_code(work, _row(call, work))


def _pause(call: Call) -> Code:
    return _paused(call, is_paused=True)


def _resume(call: Call) -> Code:
    return _paused(call, is_paused=False)


def _paused(call: Call, *, is_paused: bool) -> Code:
    work = tasks_of(call)
    work.codes.pause(_row(call, work), is_paused=is_paused)
    return shown_code(work, _row(call, work))


def _cancel(call: Call) -> Stopped:
    work = tasks_of(call)
    return Stopped(work.tasks.cancel_all(_row(call, work)))


def _remove(call: Call) -> None:
    work = tasks_of(call)
    work.codes.remove(_row(call, work))


OPERATIONS = (
    Operation(
        method="GET",
        path="/codes",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List codes, newest first",
        tag="code",
        query=CodeQuery,
        answer=Codes,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/codes/{code_id}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a code with its newest revision",
        description="What is called like a secret in `config` and `env_vars` has a mask in its place.",
        tag="code",
        answer=Code,
        errors=(404,),
    ),
    Operation(
        method="PATCH",
        path="/codes/{code_id}",
        do=_change,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Change options of a code, for tasks that are started from now on",
        tag="code",
        body=CodeSettings,
        answer=Code,
        errors=(404,),
    ),
    Operation(
        method="DELETE",
        path="/codes/{code_id}",
        do=_remove,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Delete a code",
        description="Its tasks keep their logs; a later upload of its name is a new code.",
        tag="code",
        status=204,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/codes/{code_id}/revisions",
        do=_revisions,
        scope=Scope.READ,
        also=SEEING,
        summary="List the revisions of a code, newest first",
        tag="code",
        query=PageQuery,
        answer=Revisions,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/codes/{code_id}/download",
        do=_download,
        scope=Scope.READ,
        also=SEEING,
        summary="Get the package of a code",
        tag="code",
        query=DownloadQuery,
        errors=(404,),
        media_type=ZIP_TYPE,
    ),
    Operation(
        method="POST",
        path="/codes/{code_id}/pause",
        do=_pause,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Start none of the tasks of a code; those that run go on",
        tag="code",
        answer=Code,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/codes/{code_id}/resume",
        do=_resume,
        scope=Scope.PLAYBOOK_WRITE,
        summary="Start the tasks of a code again",
        tag="code",
        answer=Code,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/codes/{code_id}/cancel",
        do=_cancel,
        scope=Scope.CANCEL,
        summary="End all tasks of a code that are not over",
        tag="code",
        answer=Stopped,
        errors=(404,),
    ),
)

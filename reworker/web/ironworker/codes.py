"""Codes: uploaded, listed, looked at, downloaded, paused and deleted."""

from __future__ import annotations

import re
from datetime import timedelta

from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Scope
from reworker.core.tasks.rights import SEEING
from reworker.storage.task_rows import CodeRow, TaskFilter
from reworker.web.ironworker import uploads
from reworker.web.ironworker.asking import Ask, Call, Document, guarded, route
from reworker.web.ironworker.documents import code_document, revision_document
from reworker.web.ironworker.tasks import STATUSES
from reworker.web.ironworker.values import epoch_of, page_of, refuse, whole_of

#: what a token needs to change codes, and to see the secrets among their options.
_WRITE = Scope.PLAYBOOK_WRITE
#: hours that statistics are of, when no time is given.
STATS_HOURS = 24
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]")


def _found(ask: Ask) -> CodeRow:
    return ask.core.codes.code(ask.path["own_id"], ask.project)


def _codes(ask: Ask) -> Document:
    limit, offset = page_of(ask.query)
    codes = ask.core.codes
    rows = codes.codes(ask.project, limit=limit, offset=offset)
    is_masked = not ask.may(_WRITE)
    return {"codes": [code_document(row, codes.revision(row), is_masked=is_masked) for row in rows]}


def _code(ask: Ask) -> Document:
    row = _found(ask)
    return code_document(row, ask.core.codes.revision(row), is_masked=not ask.may(_WRITE))


def _remove(ask: Ask) -> Document:
    ask.core.codes.remove(_found(ask))
    return {"msg": "Deleted"}


def _revisions(ask: Ask) -> Document:
    row = _found(ask)
    limit, offset = page_of(ask.query)
    found = ask.core.codes.revisions(row, limit=limit, offset=offset)
    is_masked = not ask.may(_WRITE)
    return {"revisions": [revision_document(row, one, is_masked=is_masked) for one in found]}


def _download(ask: Ask) -> Response:
    """Send the bytes of a package, a piece in memory at a time."""
    rev = whole_of(ask.query, "revision") or 0
    if rev < 0 or rev > 1 << 31:
        raise refuse("revision", "takes the number of a revision")
    code, revision = ask.core.codes.for_download(ask.path["own_id"], ask.project, rev)
    headers = {
        # clients cut off what stands before the name, so it stands alone
        "Content-Disposition": f"filename={_NO_NAME.sub('_', code.name)}_{revision.rev}.zip",
        "Content-Length": str(revision.size_bytes),
    }
    pieces = ask.core.codes.package(revision)
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _stats(ask: Ask) -> Document:
    """Count the tasks of a code that changed within a time, by status."""
    row = _found(ask)
    since = epoch_of(ask.query, "start_date") or ask.site.clock.now() - timedelta(hours=STATS_HOURS)
    wanted = TaskFilter(
        project_id=ask.project.id,
        code_id=row.id,
        updated_after=since,
        updated_before=epoch_of(ask.query, "end_date"),
    )
    return dict.fromkeys(STATUSES, 0) | ask.core.tasks.counts(wanted)


def _pause(ask: Ask) -> Document:
    return {"msg": "Paused" if ask.core.codes.pause(_found(ask), is_paused=True) else "Already paused"}


def _resume(ask: Ask) -> Document:
    return {"msg": "Resumed" if ask.core.codes.pause(_found(ask), is_paused=False) else "Already resumed"}


def _cancel_all(ask: Ask) -> Document:
    ask.core.tasks.cancel_all(_found(ask))
    return {"msg": "Cancelled"}


_CODES = "/projects/{pid}/codes"
_CODE = _CODES + "/{own_id}"


ROUTES = [
    guarded(
        _CODES,
        uploads.endpoint_beside(Call(Scope.READ, _codes, also=SEEING)),
        {"GET": Scope.READ, "POST": _WRITE},
    ),
    route(_CODE, {"GET": Call(Scope.READ, _code, also=SEEING), "DELETE": Call(_WRITE, _remove)}),
    route(f"{_CODE}/download", {"GET": Call(Scope.READ, _download, also=SEEING)}),
    route(f"{_CODE}/revisions", {"GET": Call(Scope.READ, _revisions, also=SEEING)}),
    route(f"{_CODE}/stats", {"GET": Call(Scope.READ, _stats, also=SEEING)}),
    route(f"{_CODE}/pause_task_queue", {"POST": Call(_WRITE, _pause)}),
    route(f"{_CODE}/resume_task_queue", {"POST": Call(_WRITE, _resume)}),
    route(f"{_CODE}/cancel_all", {"POST": Call(Scope.CANCEL, _cancel_all)}),
]

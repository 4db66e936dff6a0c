"""Tasks: queued, listed, looked at, cancelled, tried again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Scope
from reworker.core.tasks.filtering import filtered
from reworker.core.tasks.options import PAYLOAD_BYTES, TaskOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.rights import SEEING
from reworker.storage.task_rows import TaskFilter, TaskRow
from reworker.web.errors import HttpProblem
from reworker.web.ironworker.asking import Ask, Call, Document, route
from reworker.web.ironworker.documents import task_document
from reworker.web.ironworker.values import (
    epoch_of,
    flag_of,
    missing,
    number_of,
    page_of,
    priority_of,
    refuse,
    text_of,
    timeout_of,
    whole_of,
)

#: statuses that a list can be of; none of ours is the third.
STATUSES = ("queued", "running", "preparing", "complete", "error", "cancelled", "killed", "timeout")
#: what clients can tell text by: they read it as Latin-1 when no charset is named.
TEXT_TYPE = "text/plain; charset=utf-8"
OK = {"status_code": 200}


def drafts_of(body: Document, key: str) -> list[Document]:
    """Return the objects of a request for several things.

    Raises:
        HttpProblem: 406 there are none, 400 they are something else.
    """
    found = body.get(key)
    if found is None:
        raise missing(key, "send a list of objects")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise refuse(key, "takes a list of objects")
    return found


def code_name_of(values: Mapping[str, Any]) -> str:
    """Return the name of the code.

    Raises:
        HttpProblem: 406 there is none.
    """
    name = text_of(values, "code_name")
    if not name:
        raise missing("code_name", "name a code of the project")
    return name


def draft_of(values: Mapping[str, Any], payload: str) -> TaskDraft:
    """Return a task as it is asked for; see `TaskDraft`."""
    return TaskDraft(
        code_name=code_name_of(values),
        payload=payload,
        priority=priority_of(values),
        delay_s=max(0.0, number_of(values, "delay") or 0.0),
        timeout_s=timeout_of(values),
        label=text_of(values, "label"),
        cluster=text_of(values, "cluster"),
        options=TaskOptions(
            name=text_of(values, "name"),
            is_sync=flag_of(values, "sync"),
            result_queue=text_of(values, "result_queue"),
            result_url=text_of(values, "result_url"),
        ),
    )


def _queue(ask: Ask) -> Document:
    drafts = [draft_of(one, text_of(one, "payload")) for one in drafts_of(ask.body, "tasks")]
    rows = ask.core.tasks.queue(ask.project, drafts)
    return {"msg": "Queued up", "tasks": [{"id": row.id} for row in rows], **OK}


def _webhook(ask: Ask) -> Document:
    """Queue a task whose payload is the body as it came, of whatever type."""
    try:
        payload = ask.raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HttpProblem(400, "not-text", "the body is the payload, and that is text in UTF-8") from error
    if len(ask.raw) > PAYLOAD_BYTES:
        raise HttpProblem(413, "body-too-large", f"a payload has {PAYLOAD_BYTES} bytes at most")
    row = ask.core.tasks.queue(ask.project, [draft_of(ask.query, payload)])[0]
    return {"id": row.id, "msg": "Queued up.", **OK}


def _tasks(ask: Ask) -> Document:
    limit, offset = page_of(ask.query)
    wanted = TaskFilter(
        project_id=ask.project.id,
        code_name=text_of(ask.query, "code_name"),
        statuses=tuple(one for one in STATUSES if flag_of(ask.query, one)),
        label=text_of(ask.query, "label"),
        cluster=text_of(ask.query, "cluster"),
        schedule_id=text_of(ask.query, "schedule_id"),
        created_after=epoch_of(ask.query, "from_time"),
        created_before=epoch_of(ask.query, "to_time"),
    )
    rows = ask.core.tasks.tasks(wanted, limit=limit, offset=offset)
    return {"tasks": [task_document(row) for row in rows]}


def _found(ask: Ask) -> TaskRow:
    return ask.core.tasks.task(ask.path["own_id"], ask.project)


def _task(ask: Ask) -> Document:
    row = _found(ask)
    payload = ask.core.tasks.payload(row)
    return task_document(row, payload if ask.may(Scope.RUN) else filtered(payload))


def _log(ask: Ask) -> Response:
    return _output(ask, is_stdout=False)


def _outlog(ask: Ask) -> Response:
    return _output(ask, is_stdout=True)


def _output(ask: Ask, *, is_stdout: bool) -> Response:
    """Send what a task has written so far; clients ask again after a 404 that speaks of a log."""
    row = _found(ask)
    pieces = ask.core.tasks.output(row, is_stdout=is_stdout)
    first = next(pieces, None)
    if first is None and row.phase != "over" and row.start_at is None:
        raise HttpProblem(404, "no-log", f"there is no log yet: task {row.id} is {row.status}")
    body = chain((first,), pieces) if first is not None else iter(())
    return StreamingResponse(_encoded(body), media_type=TEXT_TYPE)


def _encoded(pieces: Iterator[str]) -> Iterator[bytes]:
    """Yield text in UTF-8, in pieces of a size that is worth to be sent."""
    held: list[bytes] = []
    size_bytes = 0
    for piece in pieces:
        held.append(piece.encode("utf-8", "surrogatepass"))
        size_bytes += len(held[-1])
        if size_bytes >= PAYLOAD_BYTES:
            yield b"".join(held)
            held, size_bytes = [], 0
    yield b"".join(held)


def _cancel(ask: Ask) -> Document:
    ask.core.tasks.cancel(ask.path["own_id"], ask.project)
    return {"msg": "Cancelled"}


def _progress(ask: Ask) -> Document:
    percent = whole_of(ask.body, "percent")
    msg = text_of(ask.body, "msg") if ask.body.get("msg") is not None else None
    ask.core.tasks.progress(ask.path["own_id"], ask.project, percent=percent, msg=msg)
    return {"msg": "Progress set"}


def _retry(ask: Ask) -> Document:
    delay_s = max(0.0, number_of(ask.body, "delay") or 0.0)
    row = ask.core.tasks.retry(ask.path["own_id"], ask.project, delay_s=delay_s)
    return {"msg": "Queued up", "tasks": [{"id": row.id}], **OK}


_TASKS = "/projects/{pid}/tasks"

ROUTES = [
    route(
        _TASKS,
        {"GET": Call(Scope.READ, _tasks, also=SEEING), "POST": Call(Scope.RUN, _queue, needs_json=True)},
    ),
    route(f"{_TASKS}/webhook", {"POST": Call(Scope.RUN, _webhook, has_raw_body=True)}),
    route(_TASKS + "/{own_id}", {"GET": Call(Scope.READ, _task, also=SEEING)}),
    route(_TASKS + "/{own_id}/log", {"GET": Call(Scope.READ, _log, also=SEEING)}),
    route(_TASKS + "/{own_id}/outlog", {"GET": Call(Scope.READ, _outlog, also=SEEING)}),
    route(_TASKS + "/{own_id}/cancel", {"POST": Call(Scope.CANCEL, _cancel)}),
    route(
        _TASKS + "/{own_id}/progress",
        {"POST": Call(Scope.RUN, _progress, also=(Scope.WORKER,), needs_json=True)},
    ),
    route(_TASKS + "/{own_id}/retry", {"POST": Call(Scope.RUN, _retry)}),
]

"""One task: how it stands, what it got, what it has written; and what can be done with it."""

from __future__ import annotations

import msgspec
from starlette.responses import Response, StreamingResponse

from reworker.core.principal import Place, Scope
from reworker.core.recorder import LogLine
from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.filtering import filtered, filtered_values
from reworker.core.tasks.options import MOST_DELAY_S, CodeOptions
from reworker.core.tasks.views import Task, task_of
from reworker.errors import DeploymentNotFound
from reworker.storage.task_rows import TaskRow
from reworker.web.pages.deployment_log import PAGE_COUNT, LogQuery, lines_html, log_page
from reworker.web.pages.deployment_output import Pane
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.queries import number_in
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.visits import Visit

#: lines of the pane at first.
PANE_COUNT = 500


class _View(msgspec.Struct, frozen=True):
    is_over: bool


class TaskLook(msgspec.Struct, frozen=True):
    """A task as its page shows it.

    Args:
        task: itself, with its payload.
        config: of its code, with masks for secrets.
        env_vars: of its code, likewise.
        last_seq: of its deployment; -1 when there is none.
        waits: why it is not started, in words; empty when it is.
        may_cancel: whether this person may end it.
        may_run: whether this person may try it again.
    """

    task: Task
    config: str
    env_vars: dict[str, str]
    last_seq: int
    waits: str
    may_cancel: bool
    may_run: bool

    @property
    def url(self) -> str:
        """Address of its page."""
        return f"/tasks/{self.task.id}"

    @property
    def view(self) -> _View:
        """What the pane of the log asks of it."""
        return _View(self.task.is_over)

    @property
    def has_deployment(self) -> bool:
        """Tell whether it was started as a deployment that is still there."""
        return self.last_seq >= 0


def _row(visit: Visit) -> TaskRow:
    return visit.work.tasks.task(visit.path("task_id"))


def _look(visit: Visit) -> TaskLook:
    row = _row(visit)
    project = visit.work.rights.project(row.project_id)
    code = visit.site.service.reader.code(row.code_id)
    options = decoded_options(code) if code else CodeOptions()
    place = Place(group=project.name)
    return TaskLook(
        task=task_of(row, project.name, visit.work.tasks.payload(row)),
        config=filtered(options.config),
        env_vars=filtered_values(options.env_vars),
        last_seq=_last_seq(visit, row.id),
        waits=_waits(row, is_paused=bool(code and code.is_paused)),
        may_cancel=visit.who.may(Scope.CANCEL, place),
        may_run=visit.who.may(Scope.RUN, place),
    )


def _last_seq(visit: Visit, own_id: str) -> int:
    try:
        return visit.site.service.reader.deployment(own_id).last_seq
    except DeploymentNotFound:
        return -1


def _waits(row: TaskRow, *, is_paused: bool) -> str:
    if row.phase != "waiting":
        return ""
    return "its code is paused" if is_paused else ""


def _show(visit: Visit) -> Response:
    look = _look(visit)
    is_live = "x-live" in visit.request.headers
    return page(visit, "task.html", look=look, task=look.task, log=None if is_live else _pane(visit, look))


def _pane(visit: Visit, look: TaskLook) -> Pane:
    own_id = look.task.id

    def read(after_no: int, limit: int) -> list[LogLine]:
        return visit.site.service.log_lines(own_id, after_no=after_no, limit=limit) if limit > 0 else []

    last = visit.site.service.log_lines(own_id, limit=1, is_tail=True)
    query = LogQuery(before=number_in(visit, "before"))
    found = log_page(read, last[-1].no if last else 0, query, PANE_COUNT)
    return Pane(found, query, lines_html(found.lines, f"/deployments/{own_id}"))


def _lines(visit: Visit) -> Response:
    """Answer with the rows of lines after a number, for a page that follows."""
    row, after = _row(visit), number_in(visit, "after")
    found = visit.site.service.log_lines(row.id, after_no=after, limit=PAGE_COUNT)
    headers = {"X-Last-No": str(found[-1].no if found else after)}
    return Response(lines_html(found, f"/deployments/{row.id}"), headers=headers, media_type="text/html")


def _file(visit: Visit) -> Response:
    """Answer with what it has written, exactly."""
    row = _row(visit)
    found = visit.site.service.tasks.output(row)
    pieces = (one.encode("utf-8", "replace") for one in found)
    headers = {"Content-Disposition": f'attachment; filename="{row.id}.log"'}
    return StreamingResponse(pieces, headers=headers, media_type="text/plain")


def _cancel(visit: Visit) -> Response:
    row = visit.work.tasks.cancel(visit.path("task_id"))
    words = "is over" if row.phase == "over" else "was told to end"
    return see_other(visit, f"/tasks/{row.id}", f"The task {words}.")


def _retry(visit: Visit) -> Response:
    own_id = visit.path("task_id")
    try:
        delay_s = float(visit.form.text("delay_s") or 0)
    except ValueError:
        delay_s = -1.0
    if not 0 <= delay_s <= MOST_DELAY_S:
        text = f"It was not queued: the delay is 0 to {MOST_DELAY_S:g} seconds."
        return see_other(visit, f"/tasks/{own_id}", text, "failed")
    again = visit.work.tasks.retry(own_id, delay_s=delay_s)
    return see_other(visit, f"/tasks/{again.id}", f"Queued anew, after {own_id}.")


_URL = "/tasks/{task_id}"
ROUTES = (
    page_route(_URL, _show),
    page_route(f"{_URL}/log/lines", _lines),
    page_route(f"{_URL}/log.txt", _file),
    page_route(f"{_URL}/cancel", act=_cancel, needs=Scope.CANCEL),
    page_route(f"{_URL}/retry", act=_retry, needs=Scope.RUN),
)

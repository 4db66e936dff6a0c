"""Code packages: the list, one with its revisions and options, uploads, and tasks that are queued by hand."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response

from reworker.core.principal import Place, Scope
from reworker.core.tasks.code_settings import CodeSettings, changed
from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.requests import RUNTIMES, NewCode, NewTask, draft_of_task
from reworker.core.tasks.views import Code, Revision, revision_of
from reworker.errors import ConfigError
from reworker.storage.task_rows import CodeRow, TaskFilter
from reworker.task_errors import PackageInvalid, TaskRefused, ThingNotFound
from reworker.web.api_v1.code_uploads import UPLOAD_BYTES, stored
from reworker.web.api_v1.codes import package_response, shown_code
from reworker.web.errors import HttpProblem
from reworker.web.pages import single_files
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.playbooks import number
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.tasks import projects, shown
from reworker.web.pages.visits import Form, Visit
from reworker.web.pages.words import count
from reworker.web.pages.work_forms import asked_in, variables_in

#: rows of the list; revisions and tasks of a code that its page lists.
PAGE_COUNT, REVISION_COUNT, TASK_COUNT = 50, 20, 10
#: fields of the form of options -> kind.
_OPTIONS = {
    "max_concurrency": int,
    "retries": int,
    "retries_delay_s": float,
    "default_priority": int,
    "config": str,
    "result_queue": str,
    "result_url": str,
}
_TASK = {"payload": str, "priority": int, "delay_s": float, "timeout_s": float, "label": str}


class CodeLine(msgspec.Struct, frozen=True):
    """A code in the list, with how many of its tasks have each status."""

    code: Code
    counts: dict[str, int]


def _list(visit: Visit) -> Response:
    wanted, first = visit.query("project"), number(visit.query("from"))
    project = visit.work.projects.find(wanted) if wanted else None
    rows = visit.work.codes.codes(project, limit=PAGE_COUNT + 1, offset=first)
    following = f"/tasks/codes?from={first + PAGE_COUNT}" + (f"&project={project.id}" if project else "")
    return page(
        visit,
        "codes.html",
        rows=[CodeLine(shown_code(visit.work, one), _counts(visit, one)) for one in rows[:PAGE_COUNT]],
        more=following if len(rows) > PAGE_COUNT else "",
        is_first=not first,
        project=project.name if project else "",
        projects=projects(visit),
    )


def _counts(visit: Visit, row: CodeRow) -> dict[str, int]:
    # who may see the code may see these; the project beside it would have a database look at all of its tasks
    return visit.site.service.tasks.counts(TaskFilter(code_id=row.id))


def _row(visit: Visit) -> CodeRow:
    return visit.work.codes.code(visit.path("code_id"))


def _show(visit: Visit) -> Response:
    return _code_page(visit, _row(visit))


def _code_page(visit: Visit, row: CodeRow, problem: str = "", *, is_of_options: bool = False) -> Response:
    """Show a code, after a form about it was refused with that form as it was typed."""
    code = shown_code(visit.work, row)
    revisions: list[Revision] = [
        revision_of(one) for one in visit.work.codes.revisions(row, limit=REVISION_COUNT)
    ]
    tasks = visit.site.service.tasks.tasks(TaskFilter(code_id=row.id), limit=TASK_COUNT)
    place = Place(group=code.project)
    return page(
        visit,
        "code.html",
        status=422 if problem else 200,
        code=code,
        revisions=revisions,
        tasks=[shown(visit, one) for one in tasks],
        counts=_counts(visit, row),
        problem=problem,
        is_of_options=is_of_options,
        form=visit.form,
        variables="\n".join(f"{name}={value}" for name, value in code.env_vars.items()),
        may_run=visit.who.may(Scope.RUN, place),
        may_write=visit.who.may(Scope.PLAYBOOK_WRITE, place),
        may_cancel=visit.who.may(Scope.CANCEL, place),
    )


def _download(visit: Visit) -> Response:
    return package_response(visit.work, _row(visit), number(visit.query("revision")))


def _new(visit: Visit) -> Response:
    return _upload_page(visit, visit.form)


def _upload_page(visit: Visit, form: Form, problem: str = "") -> Response:
    return page(
        visit,
        "code_upload.html",
        status=422 if problem else 200,
        form=form,
        name=form.text("name") or visit.query("name"),
        project=form.text("project") or visit.query("project") or DEFAULT_NAME,
        projects=projects(visit),
        runtimes=RUNTIMES,
        problem=problem,
    )


def _upload(visit: Visit) -> Response:
    """Take in an upload; a browser cannot keep the file for another try, all else it keeps."""
    form, part = visit.form, visit.form.file("file")
    try:
        if part is None:
            raise TaskRefused("choose a zip file, or a script", field="file")
        with single_files.packed(part.file, part.file_name or "") as (file, only_name):
            asked = _new_code(form, only_name)
            row, _ = stored(visit.work, asked, file)
    except (TaskRefused, PackageInvalid, ConfigError, ThingNotFound) as error:
        return _upload_page(visit, form, f"It was not uploaded: {error}.")
    return see_other(visit, f"/tasks/codes/{row.id}", f"Revision {row.rev} of {row.name} is uploaded.")


def _new_code(form: Form, only_name: str) -> NewCode:
    """Return what a form asks for; of a script that is uploaded alone the rest is known from its name."""
    file_name = form.text("file_name").strip() or only_name
    stem = only_name.rpartition(".")[0] or only_name
    more: dict[str, Any] = {
        "name": form.text("name").strip() or stem,
        "project": form.text("project") or DEFAULT_NAME,
        "file_name": file_name,
        "runtime": form.text("runtime") or single_files.runtime_of(file_name),
        **_variables(form),
    }
    return asked_in(form, NewCode, _OPTIONS, **more)


def _variables(form: Form) -> dict[str, Any]:
    text = form.text("env_vars")
    return {"env_vars": variables_in(text)} if text.strip() or form.text("has_env_vars") else {}


def _change(visit: Visit) -> Response:
    row = _row(visit)
    try:
        asked = asked_in(visit.form, CodeSettings, _OPTIONS, keeps_empty=True, **_variables(visit.form))
        visit.work.codes.change_options(row, changed(decoded_options(row), asked))
    except TaskRefused as error:
        return _code_page(visit, row, f"Nothing was changed: {error}.", is_of_options=True)
    return see_other(
        visit, f"/tasks/codes/{row.id}", "The options are changed, for tasks that start from now on."
    )


def _queue(visit: Visit) -> Response:
    row = _row(visit)
    try:
        asked = asked_in(visit.form, NewTask, _TASK, code=row.name)
        (task,) = visit.work.tasks.queue(visit.work.rights.project(row.project_id), [draft_of_task(asked)])
    except TaskRefused as error:
        return _code_page(visit, row, f"No task was queued: {error}.")
    return see_other(visit, f"/tasks/{task.id}", f"A task of {row.name} is queued.")


def _pause(visit: Visit) -> Response:
    row, is_paused = _row(visit), visit.form.text("do") == "pause"
    visit.work.codes.pause(row, is_paused=is_paused)
    words = "is paused: no task of it is started" if is_paused else "is resumed"
    return see_other(visit, f"/tasks/codes/{row.id}", f"{row.name} {words}.")


def _removal(visit: Visit) -> Response:
    row = _row(visit)
    return page(visit, "code_remove.html", code=shown_code(visit.work, row), counts=_counts(visit, row))


def _remove(visit: Visit) -> Response:
    row = _row(visit)
    if visit.form.text("confirm") != "yes":
        raise HttpProblem(400, "not-confirmed", "nothing was done: the box was not ticked")
    if visit.form.text("do") == "cancel":
        counted = count(visit.work.tasks.cancel_all(row), "task")
        return see_other(visit, f"/tasks/codes/{row.id}", f"{counted} of {row.name} told to end.")
    visit.work.codes.remove(row)
    return see_other(visit, "/tasks/codes", f"{row.name} is deleted. Its tasks keep their logs.")


_WRITE = Scope.PLAYBOOK_WRITE
_URL = "/tasks/codes/{code_id}"
ROUTES = (
    page_route("/tasks/codes", _list),
    page_route("/tasks/codes/new", _new, _upload, needs=_WRITE, file_bytes=UPLOAD_BYTES),
    page_route(_URL, _show),
    page_route(f"{_URL}/download", _download),
    page_route(f"{_URL}/options", act=_change, needs=_WRITE),
    page_route(f"{_URL}/queue", act=_queue, needs=Scope.RUN),
    page_route(f"{_URL}/pause", act=_pause, needs=_WRITE),
    page_route(f"{_URL}/remove", _removal, _remove, act_needs=Scope.READ),
)

"""Schedules: the list, one with its form, a new one."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Any

from starlette.responses import Response

from reworker.core.principal import Place, Scope
from reworker.core.tasks.firing import Missed, ScheduleStatus
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.schedule_requests import ChangedSchedule, NewSchedule, changes_of, draft_of_schedule
from reworker.core.tasks.views import Schedule, schedule_of
from reworker.storage.task_rows import ScheduleRow, TaskFilter
from reworker.task_errors import TaskRefused, ThingNotFound
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.playbooks import number
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.tasks import projects, shown
from reworker.web.pages.visits import Visit
from reworker.web.pages.work_forms import asked_in

#: rows of the list; codes that a form offers; tasks that the page of a schedule lists.
PAGE_COUNT, CODE_COUNT, TASK_COUNT = 100, 200, 10
#: fields of the form -> kind.
_FIELDS = {
    "payload": str,
    "cron": str,
    "time_zone": str,
    "missed": str,
    "label": str,
    "run_every_s": float,
    "run_times": int,
    "priority": int,
    "timeout_s": float,
    "start_at": datetime,
    "end_at": datetime,
}
#: fields that mean "none" when they are emptied.
_NULLED = ("end_at", "priority", "timeout_s")
MISSED_WORDS = {Missed.ONCE: "one task for all of them", Missed.SKIP: "none", Missed.ALL: "one for each"}


def _list(visit: Visit) -> Response:
    status, first = visit.query("status"), number(visit.query("from"))
    status = status if status in tuple(ScheduleStatus) else ""
    rows = visit.work.schedules.schedules(None, limit=PAGE_COUNT + 1, offset=first, status=status)
    query = f"&status={status}" if status else ""
    return page(
        visit,
        "schedules.html",
        rows=[_shown(visit, one) for one in rows[:PAGE_COUNT]],
        counts=visit.work.schedules.counts(None),
        chosen=status,
        is_first=not first,
        more=f"/tasks/schedules?from={first + PAGE_COUNT}{query}" if len(rows) > PAGE_COUNT else "",
    )


def _shown(visit: Visit, row: ScheduleRow) -> Schedule:
    return schedule_of(row, visit.work.rights.project(row.project_id).name)


def _form_page(visit: Visit, row: ScheduleRow | None, problem: str = "") -> Response:
    """Show a schedule or the form of a new one; what was typed stays."""
    schedule = _shown(visit, row) if row else None
    found = TaskFilter(project_id=row.project_id, schedule_id=row.id) if row else None
    place = Place(group=schedule.project) if schedule else Place()
    return page(
        visit,
        "schedule.html",
        status=422 if problem else 200,
        schedule=schedule,
        values=_values(visit, schedule),
        tasks=[shown(visit, one) for one in visit.work.tasks.tasks(found, limit=TASK_COUNT)] if found else [],
        codes=[] if row else list(islice(_codes(visit), CODE_COUNT)),
        projects=projects(visit),
        missed=[(str(one), words) for one, words in MISSED_WORDS.items()],
        problem=problem,
        may_run=visit.who.may(Scope.RUN, place),
    )


def _codes(visit: Visit) -> list[str]:
    rows = visit.work.codes.codes(None, limit=CODE_COUNT)
    return list(dict.fromkeys(one.name for one in rows))


def _values(visit: Visit, schedule: Schedule | None) -> dict[str, Any]:
    """Return what the fields hold: what was typed, else how it is."""
    if visit.form.fields:
        return {name: visit.form.text(name) for name in ("code", "project", *_FIELDS)}
    if schedule is None:
        asked = {name: visit.query(name) for name in ("code", "project")}
        empty = {**dict.fromkeys(_FIELDS, ""), "missed": str(Missed.ONCE)}
        return {**empty, **asked, "project": asked["project"] or DEFAULT_NAME}
    values = {name: _field(getattr(schedule, name)) for name in ("code", "project", *_FIELDS)}
    return values | {name: "" for name in ("run_every_s", "run_times") if not getattr(schedule, name)}


def _field(value: object) -> str:
    """Return a value as a field of a form holds it; moments are UTC."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M")
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _new(visit: Visit) -> Response:
    return _form_page(visit, None)


def _add(visit: Visit) -> Response:
    form = visit.form
    try:
        asked = asked_in(form, NewSchedule, _FIELDS, code=form.text("code"), project=form.text("project"))
        project = visit.work.projects.to_write(asked.project, "schedule.add")
        (row,) = visit.work.schedules.add(project, [draft_of_schedule(asked)])
    except (TaskRefused, ThingNotFound) as error:
        return _form_page(visit, None, f"Nothing was made: {error}.")
    return see_other(visit, f"/tasks/schedules/{row.id}", "The schedule is made.")


def _row(visit: Visit) -> ScheduleRow:
    return visit.work.schedules.schedule(visit.path("schedule_id"))


def _show(visit: Visit) -> Response:
    return _form_page(visit, _row(visit))


def _change(visit: Visit) -> Response:
    row, form = _row(visit), visit.form
    empty: dict[str, Any] = {name: None for name in _NULLED if form.all(name) and not form.text(name).strip()}
    zero = {
        name: 0 for name in ("run_every_s", "run_times") if form.all(name) and not form.text(name).strip()
    }
    fields = {name: kind for name, kind in _FIELDS.items() if not _is_as_shown(name, form.text(name), row)}
    try:
        asked = asked_in(form, ChangedSchedule, fields, keeps_empty=True, **empty, **zero)
        visit.work.schedules.update(row.id, changes_of(asked, row))
    except (TaskRefused, ThingNotFound) as error:
        return _form_page(visit, row, f"Nothing was changed: {error}.")
    return see_other(visit, f"/tasks/schedules/{row.id}", "The schedule is changed.")


def _is_as_shown(name: str, text: str, row: ScheduleRow) -> bool:
    """Tell whether a moment was left as it was shown, which is to the minute."""
    return name in ("start_at", "end_at") and bool(text) and text == _field(getattr(row, name))


def _cancel(visit: Visit) -> Response:
    row = visit.work.schedules.cancel(visit.path("schedule_id"))
    return see_other(visit, f"/tasks/schedules/{row.id}", "The schedule makes no more tasks.")


_URL = "/tasks/schedules/{schedule_id}"
ROUTES = (
    page_route("/tasks/schedules", _list),
    page_route("/tasks/schedules/new", _new, _add, needs=Scope.RUN),
    page_route(_URL, _show, _change, act_needs=Scope.RUN),
    page_route(f"{_URL}/cancel", act=_cancel, needs=Scope.RUN),
)

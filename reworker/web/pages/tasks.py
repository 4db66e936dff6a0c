"""The list of tasks: filters in the address, page by page."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from reworker.core.tasks.views import Project, Task, project_of, task_of
from reworker.ids import is_id
from reworker.storage.task_rows import TaskRow
from reworker.web.pages.listing import since_choices
from reworker.web.pages.page_routes import page_route
from reworker.web.pages.rendering import page, see_other
from reworker.web.pages.task_listing import TaskListing, status_choices, tab_title
from reworker.web.pages.visits import Visit

#: seconds between two looks of a page that follows; and when so many tasks are counted each time.
LIVE_S, SLOW_LIVE_S, MANY_COUNT = 2, 15, 50_000
#: rows of a page; projects that a form lists.
PAGE_COUNT, PROJECT_COUNT = 100, 200


def _list(visit: Visit) -> Response:
    asked, before_id = TaskListing.of(visit.request.query_params), visit.query("before")
    if is_id(asked.code):
        return see_other(visit, f"/tasks/{asked.code}")
    project_id = visit.work.projects.find(asked.project).id if asked.project else ""
    wanted = asked.wanted(visit.site.clock.now(), project_id)
    before = msgspec.structs.replace(wanted, before_id=before_id if is_id(before_id) else "")
    found = visit.work.tasks.tasks(before, limit=PAGE_COUNT + 1)
    rows = [shown(visit, one) for one in found[:PAGE_COUNT]]
    counts = visit.work.tasks.counts(msgspec.structs.replace(wanted, statuses=()))
    return page(
        visit,
        "tasks.html",
        asked=asked,
        rows=rows,
        counts=counts,
        total=sum(counts.values()),
        is_first=not before_id,
        older=asked.url(before=rows[-1].id) if len(found) > PAGE_COUNT else "",
        projects=projects(visit),
        statuses=status_choices(),
        sinces=since_choices(),
        tab=tab_title(counts),
        live_s=LIVE_S if sum(counts.values()) < MANY_COUNT else SLOW_LIVE_S,
    )


def shown(visit: Visit, row: TaskRow) -> Task:
    """Return a task as it is shown, without its payload."""
    return task_of(row, visit.work.rights.project(row.project_id).name)


def projects(visit: Visit) -> list[Project]:
    """Return the projects that a form offers."""
    return [project_of(one) for one in visit.work.projects.all(limit=PROJECT_COUNT)]


ROUTES = (page_route("/tasks", _list),)

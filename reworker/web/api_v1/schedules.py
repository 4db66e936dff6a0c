"""Schedules: make, list, get, change, cancel."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.responses import Response

from reworker.core.principal import Scope
from reworker.core.tasks.guarded import GuardedTasks
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.schedule_requests import ChangedSchedule, NewSchedule, changes_of, draft_of_schedule
from reworker.core.tasks.views import Schedule, schedule_of
from reworker.storage.task_rows import ScheduleRow
from reworker.web.api_v1.paging import PageQuery, offset_of, page_at
from reworker.web.api_v1.serving import tasks_of
from reworker.web.operations import JSON_TYPE, Call, Operation

_KIND = "schedules"

Status = Literal["", "scheduled", "complete", "cancelled"]


class Schedules(msgspec.Struct, frozen=True):
    """A page of schedules, newest first.

    Args:
        items: the schedules.
        next: cursor of the next page; null at the end.
    """

    items: list[Schedule]
    next: str | None


class ScheduleQuery(PageQuery, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which schedules.

    Args:
        project: id or name; empty is any that may be seen.
        status: scheduled, complete or cancelled; empty is any.
    """

    project: str = ""
    status: Status = ""


def shown_schedule(work: GuardedTasks, row: ScheduleRow) -> Schedule:
    """Return a schedule as it is shown to who asks."""
    return schedule_of(row, work.rights.project(row.project_id).name)


def _list(call: Call) -> Schedules:
    query: ScheduleQuery = call.query
    work, offset = tasks_of(call), offset_of(query, _KIND)
    project = work.projects.find(query.project) if query.project else None
    rows = work.schedules.schedules(project, limit=query.limit + 1, offset=offset, status=query.status)
    items, after = page_at(query, _KIND, rows, offset, lambda row: shown_schedule(work, row))
    return Schedules(items, after)


def _add(call: Call) -> Response:
    work = tasks_of(call)
    project = work.projects.to_write(call.body.project, "schedule.add")
    (row,) = work.schedules.add(project, [draft_of_schedule(call.body)])
    headers = {"Location": f"/api/v1/schedules/{row.id}"}
    return Response(msgspec.json.encode(shown_schedule(work, row)), 201, headers, JSON_TYPE)


def _get(call: Call) -> Schedule:
    work = tasks_of(call)
    return shown_schedule(work, work.schedules.schedule(call.path["schedule_id"]))


def _change(call: Call) -> Schedule:
    work = tasks_of(call)
    row = work.schedules.schedule(call.path["schedule_id"])
    return shown_schedule(work, work.schedules.update(row.id, changes_of(call.body, row)))


def _cancel(call: Call) -> Schedule:
    work = tasks_of(call)
    return shown_schedule(work, work.schedules.cancel(call.path["schedule_id"]))


OPERATIONS = (
    Operation(
        method="GET",
        path="/schedules",
        do=_list,
        scope=Scope.READ,
        also=SEEING,
        summary="List schedules, newest first",
        tag="schedule",
        query=ScheduleQuery,
        answer=Schedules,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/schedules",
        do=_add,
        scope=Scope.RUN,
        summary="Make a schedule",
        tag="schedule",
        body=NewSchedule,
        answer=Schedule,
        status=201,
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/schedules/{schedule_id}",
        do=_get,
        scope=Scope.READ,
        also=SEEING,
        summary="Get a schedule",
        description="What is called like a secret in the payload has a mask in its place.",
        tag="schedule",
        answer=Schedule,
        errors=(404,),
    ),
    Operation(
        method="PATCH",
        path="/schedules/{schedule_id}",
        do=_change,
        scope=Scope.RUN,
        summary="Change a schedule that is not over",
        tag="schedule",
        body=ChangedSchedule,
        answer=Schedule,
        errors=(404,),
    ),
    Operation(
        method="POST",
        path="/schedules/{schedule_id}/cancel",
        do=_cancel,
        scope=Scope.RUN,
        summary="Make no more tasks of a schedule; those that were made go on",
        tag="schedule",
        answer=Schedule,
        errors=(404,),
    ),
)

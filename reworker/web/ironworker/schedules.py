"""Schedules: made, listed, looked at, changed, cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.core.principal import Scope
from reworker.core.tasks.options import ScheduleOptions
from reworker.core.tasks.rights import SEEING
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft
from reworker.web.ironworker.asking import Ask, Call, Document, route
from reworker.web.ironworker.documents import schedule_document
from reworker.web.ironworker.tasks import OK, code_name_of, drafts_of
from reworker.web.ironworker.values import (
    flag_of,
    number_of,
    page_of,
    priority_of,
    refuse,
    text_of,
    time_of,
    timeout_of,
    whole_of,
)

#: keys of a schedule -> what they change of it, and how they are read; one that is null is not set.
_TEXTS = ("code_name", "payload", "cron", "time_zone", "missed", "label", "name", "cluster")
_TEXTS_OF_RESULTS = ("result_queue", "result_url")


def _seconds(values: Mapping[str, Any], key: str) -> float:
    """Return seconds; what is below 0 is not set."""
    return max(0.0, number_of(values, key) or 0.0)


def _times(values: Mapping[str, Any]) -> int:
    """Return how many tasks there are to be in all; 0 is without limit."""
    return max(0, whole_of(values, "run_times") or 0)


def draft_of(values: Mapping[str, Any]) -> ScheduleDraft:
    """Return a schedule as it is asked for; see `ScheduleDraft`.

    Raises:
        HttpProblem: 406 it names no code, 400 it has no payload, or a value makes no sense.
    """
    if values.get("payload") is None:
        raise refuse("payload", "is missing; a schedule needs one, which may be empty")
    return ScheduleDraft(
        code_name=code_name_of(values),
        payload=text_of(values, "payload"),
        start_at=time_of(values, "start_at"),
        end_at=time_of(values, "end_at"),
        delay_s=_seconds(values, "delay"),
        run_every_s=_seconds(values, "run_every"),
        cron=text_of(values, "cron"),
        time_zone=text_of(values, "time_zone"),
        run_times=_times(values),
        missed=text_of(values, "missed") or ScheduleDraft("").missed,
        label=text_of(values, "label"),
        options=ScheduleOptions(
            name=text_of(values, "name"),
            priority=priority_of(values),
            timeout_s=timeout_of(values),
            delay_s=_seconds(values, "task_delay"),
            cluster=text_of(values, "cluster"),
            is_sync=flag_of(values, "sync"),
            result_queue=text_of(values, "result_queue"),
            result_url=text_of(values, "result_url"),
        ),
    )


def changes_of(values: Mapping[str, Any]) -> ScheduleChanges:
    """Return what is to be another of a schedule; what is not named, or null, stays."""
    given = {key for key, value in values.items() if value is not None}
    found: dict[str, Any] = {
        key: text_of(values, key) for key in (*_TEXTS, *_TEXTS_OF_RESULTS) if key in given
    }
    found |= {key: time_of(values, key) for key in ("start_at", "end_at") if key in given}
    if "run_every" in given:
        found["run_every_s"] = _seconds(values, "run_every")
    if "run_times" in given:
        found["run_times"] = _times(values)
    if "task_delay" in given:
        found["delay_s"] = _seconds(values, "task_delay")
    if "priority" in given:
        found["priority"] = priority_of(values)
    if "timeout" in given:
        found["timeout_s"] = timeout_of(values)
    if "sync" in given:
        found["is_sync"] = flag_of(values, "sync")
    if found.get("start_at", True) is None:
        del found["start_at"]
    return ScheduleChanges(**found)


def _schedules(ask: Ask) -> Document:
    limit, offset = page_of(ask.query)
    status = text_of(ask.query, "status")
    rows = ask.core.schedules.schedules(ask.project, limit=limit, offset=offset, status=status)
    return {"schedules": [schedule_document(row, is_masked=not ask.may(Scope.RUN)) for row in rows]}


def _add(ask: Ask) -> Document:
    drafts = [draft_of(one) for one in drafts_of(ask.body, "schedules")]
    rows = ask.core.schedules.add(ask.project, drafts)
    return {"msg": "Scheduled", "schedules": [{"id": row.id} for row in rows], **OK}


def _schedule(ask: Ask) -> Document:
    row = ask.core.schedules.schedule(ask.path["own_id"], ask.project)
    return schedule_document(row, is_masked=not ask.may(Scope.RUN))


def _update(ask: Ask) -> Document:
    ask.core.schedules.update(ask.path["own_id"], changes_of(ask.body), ask.project)
    return {"msg": "Updated"}


def _cancel(ask: Ask) -> Document:
    ask.core.schedules.cancel(ask.path["own_id"], ask.project)
    return {"msg": "Cancelled"}


_SCHEDULES = "/projects/{pid}/schedules"

ROUTES = [
    route(
        _SCHEDULES,
        {"GET": Call(Scope.READ, _schedules, also=SEEING), "POST": Call(Scope.RUN, _add, needs_json=True)},
    ),
    route(
        _SCHEDULES + "/{own_id}",
        {"GET": Call(Scope.READ, _schedule, also=SEEING), "PUT": Call(Scope.RUN, _update, needs_json=True)},
    ),
    route(_SCHEDULES + "/{own_id}/cancel", {"POST": Call(Scope.RUN, _cancel, also=(Scope.CANCEL,))}),
]

"""What people and programs ask of schedules, as data; see `requests`. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from reworker.core.tasks.filtering import restored
from reworker.core.tasks.options import ScheduleOptions
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.requests import Delay, Label, Priority, ProjectKey, Timeout
from reworker.core.tasks.schedule_drafts import MOST_EVERY_S, MOST_TIMES, ScheduleChanges, ScheduleDraft
from reworker.storage.task_rows import ScheduleRow

Missed = Literal["once", "skip", "all"]
Every = Annotated[float, Meta(ge=0, le=MOST_EVERY_S)]
Cron = Annotated[str, Meta(max_length=200, examples=["30 4 * * mon-fri"])]
TimeZone = Annotated[str, Meta(max_length=100, examples=["Europe/Berlin"])]
Times = Annotated[int, Meta(ge=0, le=MOST_TIMES)]
CodeName = Annotated[str, Meta(min_length=1, examples=["mail"])]


Time = Annotated[datetime, Meta(tz=True)]


class NewSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A schedule to make; with neither `cron` nor `run_every_s` it makes one task.

    Args:
        code: name of the code that its tasks run.
        project: id or name.
        payload: text for the process of each task.
        start_at: before which there is no task; null is now.
        end_at: after which there is none; null is never.
        delay_s: seconds from now on in which there is no task either.
        run_every_s: seconds between two tasks, 60 at least; 0 is one task alone, or as `cron` says.
        cron: minute, hour, day, month, day of the week.
        time_zone: of `cron`, an IANA name; empty is UTC.
        run_times: tasks in all; 0 is without limit.
        missed: what becomes of moments that passed while no core ran.
        priority: of its tasks; null is that of the code.
        timeout_s: seconds that its tasks may run; null is an hour.
        task_delay_s: seconds that each task waits.
        label: of its tasks.
        cluster: of its tasks.
        name: of its tasks.
        result_queue: where the result of each task is sent; empty is that of the code.
        result_url: where it is posted to, signed; empty is that of the code.
    """

    code: CodeName
    project: ProjectKey = DEFAULT_NAME
    payload: str = ""
    start_at: Time | None = None
    end_at: Time | None = None
    delay_s: Delay = 0.0
    run_every_s: Every = 0.0
    cron: Cron = ""
    time_zone: TimeZone = ""
    run_times: Times = 0
    missed: Missed = "once"
    priority: Priority | None = None
    timeout_s: Timeout | None = None
    task_delay_s: Delay = 0.0
    label: Label = ""
    cluster: Label = ""
    name: Label = ""
    result_queue: str = ""
    result_url: str = ""


class ChangedSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed of a schedule; what is left out stays.

    Args:
        code: name of the code that its tasks run.
        payload: text for the process of each task; as it was shown, with masks, leaves it.
        start_at: before which there is no task.
        end_at: after which there is none; null is never.
        run_every_s: seconds between two tasks, 60 at least; 0 is one task alone, or as `cron` says.
        cron: minute, hour, day, month, day of the week; empty is none.
        time_zone: of `cron`, an IANA name; empty is UTC.
        run_times: tasks in all; 0 is without limit.
        missed: what becomes of moments that passed while no core ran.
        priority: of its tasks; null is that of the code.
        timeout_s: seconds that its tasks may run; null is an hour.
        task_delay_s: seconds that each task waits.
        label: of its tasks.
        cluster: of its tasks.
        name: of its tasks.
        result_queue: where the result of each task is sent; empty is that of the code.
        result_url: where it is posted to, signed; empty is that of the code.
    """

    code: CodeName | UnsetType = UNSET
    payload: str | UnsetType = UNSET
    start_at: Time | UnsetType = UNSET
    end_at: Time | UnsetType | None = UNSET
    run_every_s: Every | UnsetType = UNSET
    cron: Cron | UnsetType = UNSET
    time_zone: TimeZone | UnsetType = UNSET
    run_times: Times | UnsetType = UNSET
    missed: Missed | UnsetType = UNSET
    priority: Priority | UnsetType | None = UNSET
    timeout_s: Timeout | UnsetType | None = UNSET
    task_delay_s: Delay | UnsetType = UNSET
    label: Label | UnsetType = UNSET
    cluster: Label | UnsetType = UNSET
    name: Label | UnsetType = UNSET
    result_queue: str | UnsetType = UNSET
    result_url: str | UnsetType = UNSET


def draft_of_schedule(asked: NewSchedule) -> ScheduleDraft:
    """Return a schedule as the core takes it."""
    options = {
        name: getattr(asked, name) for name in ScheduleOptions.__struct_fields__ if hasattr(asked, name)
    }
    own = {name: getattr(asked, name) for name in ScheduleDraft.__struct_fields__ if hasattr(asked, name)}
    whole = ScheduleOptions(**{**options, "delay_s": asked.task_delay_s})
    return ScheduleDraft(code_name=asked.code, options=whole, **own)


def changes_of(asked: ChangedSchedule, row: ScheduleRow) -> ScheduleChanges:
    """Return what is to be changed as the core takes it.

    Raises:
        TaskRefused: a mask stands for nothing that we know.
    """
    given: dict[str, Any] = {
        name: value for name in asked.__struct_fields__ if (value := getattr(asked, name)) is not UNSET
    }
    if "payload" in given:
        given["payload"] = restored(given["payload"], row.payload, "payload")
    for name, own in (("code", "code_name"), ("task_delay_s", "delay_s")):
        if name in given:
            given[own] = given.pop(name)
    return ScheduleChanges(**given)

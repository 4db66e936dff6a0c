"""Schedules as they are asked for, and what of that can be. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from reworker.core.tasks.firing import Missed, ScheduleStatus, moment_from, settled, zone_of
from reworker.core.tasks.options import MOST_DELAY_S, ScheduleOptions, TaskOptions, decoded, encoded
from reworker.core.tasks.queueing import TaskDraft, require_valid
from reworker.storage.task_rows import ScheduleRow
from reworker.task_errors import TaskRefused

#: seconds between two tasks of a schedule at least, and at most. Source of the first: IronWorker's limits.
LEAST_EVERY_S, MOST_EVERY_S = 60.0, 10 * 366 * 86_400.0
#: tasks of a schedule at most, when their number is given.
MOST_TIMES = 1_000_000_000
#: IronWorker's word for a time that is not set is the first of January of the year 1.
_UNSET_YEAR = 1
#: years of a start or an end.
_YEARS = (1970, 9000)


class ScheduleDraft(msgspec.Struct, frozen=True):
    """A schedule as it is asked for. Times are aware; one without a zone is UTC, one of the year 1 is none.

    Args:
        code_name: of a code of the same project.
        payload: of each task.
        start_at: before which there is no task; None is now.
        end_at: after which there is none; None is never.
        delay_s: from now on, in which there is no task either.
        run_every_s: seconds between two tasks; 0 is one task alone, or as `cron` says.
        cron: five fields; empty is none.
        time_zone: of `cron`, an IANA name; empty is UTC.
        run_times: tasks in all; 0 is without limit, but for one task alone.
        missed: what becomes of moments that were missed: see `firing.Missed`.
        label: of each task.
        options: what each task has besides; its `delay_s` is that of each task.
    """

    code_name: str
    payload: str = ""
    start_at: datetime | None = None
    end_at: datetime | None = None
    delay_s: float = 0.0
    run_every_s: float = 0.0
    cron: str = ""
    time_zone: str = ""
    run_times: int = 0
    missed: str = Missed.ONCE
    label: str = ""
    options: ScheduleOptions = ScheduleOptions()


class ScheduleChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be another of a schedule; what is UNSET stays. See `ScheduleDraft` and `ScheduleOptions`."""

    code_name: str | UnsetType = UNSET
    payload: str | UnsetType = UNSET
    start_at: datetime | UnsetType = UNSET
    end_at: datetime | UnsetType | None = UNSET
    run_every_s: float | UnsetType = UNSET
    cron: str | UnsetType = UNSET
    time_zone: str | UnsetType = UNSET
    run_times: int | UnsetType = UNSET
    missed: str | UnsetType = UNSET
    label: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    priority: int | UnsetType | None = UNSET
    timeout_s: float | UnsetType | None = UNSET
    delay_s: float | UnsetType = UNSET
    cluster: str | UnsetType = UNSET
    is_sync: bool | UnsetType = UNSET
    result_queue: str | UnsetType = UNSET
    result_url: str | UnsetType = UNSET


_OPTION_NAMES = frozenset(ScheduleOptions.__struct_fields__)
#: what decides about the next moment.
_TIMING_NAMES = frozenset(("start_at", "run_every_s", "cron", "time_zone"))


def made(
    draft: ScheduleDraft, now: datetime, *, own_id: str, project_id: str, actor: str = ""
) -> ScheduleRow:
    """Return the row of a schedule that is not stored yet, with its first moment.

    Raises:
        TaskRefused: a value is wrong.
    """
    if not 0 <= draft.delay_s <= MOST_DELAY_S:
        raise TaskRefused(f"0 to {MOST_DELAY_S:g} seconds", field="delay")
    start_at = _time(draft.start_at, "start_at")
    ready_at = now + timedelta(seconds=draft.delay_s)
    row = ScheduleRow(
        id=own_id,
        project_id=project_id,
        code_name=draft.code_name,
        payload=draft.payload,
        status=ScheduleStatus.SCHEDULED,
        start_at=ready_at if start_at is None else max(start_at, ready_at) if draft.delay_s else start_at,
        end_at=_time(draft.end_at, "end_at"),
        next_at=None,
        last_at=None,
        run_every_s=draft.run_every_s,
        cron=" ".join(draft.cron.split()),
        time_zone=draft.time_zone,
        run_times=draft.run_times,
        run_count=0,
        missed=draft.missed,
        msg="",
        label=draft.label,
        options=encoded(draft.options),
        actor=actor,
        created_at=now,
        updated_at=now,
    )
    if row.end_at is not None and row.end_at < now:
        raise TaskRefused("is over already", field="end_at")
    _require_valid(row)
    return _with_next(row, start_at=_first(row, now))


def _first(row: ScheduleRow, now: datetime) -> datetime:
    """Return from when on there are moments: none that were over before anybody asked, but for the last."""
    start_at = row.start_at or now
    if row.cron or start_at >= now:
        return max(start_at, now)
    every = timedelta(seconds=row.run_every_s)
    return start_at + every * ((now - start_at) // every) if every else start_at


def changed(row: ScheduleRow, changes: ScheduleChanges, now: datetime) -> ScheduleRow:
    """Return a schedule with other values; with another timing it goes on at a moment that is not over.

    Raises:
        TaskRefused: a value is wrong, or the schedule is over.
    """
    if row.status != ScheduleStatus.SCHEDULED:
        raise TaskRefused(f"the schedule is {row.status}, so make a new one")
    values = {name: value for name in _given(changes) if (value := getattr(changes, name)) is not UNSET}
    options = {name: value for name, value in values.items() if name in _OPTION_NAMES}
    values = {name: value for name, value in values.items() if name not in _OPTION_NAMES}
    for name in ("start_at", "end_at"):
        if name in values:
            values[name] = _time(values[name], name)
    if "cron" in values:
        values["cron"] = " ".join(values["cron"].split())
    if options:
        before = decoded(ScheduleOptions, row.options)
        values["options"] = encoded(msgspec.structs.replace(before, **options))
    after = msgspec.structs.replace(row, **values, updated_at=now)
    _require_valid(after)
    is_other = any(getattr(row, name) != getattr(after, name) for name in _TIMING_NAMES)
    if is_other:
        return _with_next(after, start_at=max(now, after.start_at or now) if _repeats(after) else None)
    is_ended = after.end_at is not None and after.next_at is not None and after.next_at > after.end_at
    return settled(msgspec.structs.replace(after, next_at=None if is_ended else after.next_at))


def _given(changes: ScheduleChanges) -> tuple[str, ...]:
    return changes.__struct_fields__


def _repeats(row: ScheduleRow) -> bool:
    return bool(row.cron or row.run_every_s)


def _with_next(row: ScheduleRow, *, start_at: datetime | None) -> ScheduleRow:
    """Return a schedule with its next moment, from this time on or, for one task alone, from its start."""
    next_at = moment_from(row, start_at or row.start_at or row.created_at)
    if next_at is None:
        reason = "there is no moment for a task" + (" before its end" if row.end_at else "")
        raise TaskRefused(reason, field="cron" if row.cron else "end_at")
    return settled(msgspec.structs.replace(row, next_at=next_at))


def _time(at: datetime | None, name: str) -> datetime | None:
    if at is None or at.year == _UNSET_YEAR:
        return None
    if not _YEARS[0] <= at.year <= _YEARS[1]:
        raise TaskRefused(f"the year is {_YEARS[0]} to {_YEARS[1]}, found {at.year}", field=name)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _require_valid(row: ScheduleRow) -> None:
    """Let a schedule pass whose values can be, apart from the code, which must exist.

    Raises:
        TaskRefused: names the value.
    """
    if row.run_every_s and not LEAST_EVERY_S <= row.run_every_s <= MOST_EVERY_S:
        raise TaskRefused(
            f"{LEAST_EVERY_S:g} to {MOST_EVERY_S:.0f} seconds, found {row.run_every_s:g}", field="run_every"
        )
    if row.cron and row.run_every_s:
        raise TaskRefused("give either seconds or a cron expression", field="run_every")
    if not 0 <= row.run_times <= MOST_TIMES:
        raise TaskRefused(f"a number up to {MOST_TIMES}, or 0 for no limit", field="run_times")
    if row.missed not in tuple(Missed):
        raise TaskRefused(f"one of {', '.join(Missed)}", field="missed")
    if row.start_at and row.end_at and row.end_at < row.start_at:
        raise TaskRefused("is before the start", field="end_at")
    zone_of(row.time_zone)
    require_valid(task_draft(row))


def task_draft(row: ScheduleRow) -> TaskDraft:
    """Return a task of a schedule, as it is asked for."""
    options = decoded(ScheduleOptions, row.options)
    own: dict[str, Any] = {name: getattr(options, name) for name in TaskOptions.__struct_fields__}
    return TaskDraft(
        code_name=row.code_name,
        payload=row.payload,
        priority=options.priority,
        delay_s=options.delay_s,
        timeout_s=options.timeout_s,
        label=row.label,
        cluster=options.cluster,
        schedule_id=row.id,
        options=TaskOptions(**own),
    )

"""When a schedule makes tasks: its next moment, and what becomes of moments that were missed. Pure.

A schedule has moments: its start alone, or every so many seconds from it on, or those of a cron expression
in a time zone. They are points of the wall clock, apart from when anybody looks: nothing drifts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from reworker.clock import iso
from reworker.storage.task_rows import ScheduleRow
from reworker.task_errors import TaskRefused

#: a moment that passed longer ago than this is missed, in seconds: a shorter delay is that of a busy core.
LATE_S = 60.0
#: tasks that one schedule makes at once at most, for moments that were missed.
MOST_AT_ONCE = 100
#: characters of a cron expression, and of a time zone.
CRON_CHARACTERS, ZONE_CHARACTERS = 200, 64
#: what an expression has; a library may know more.
_CRON_FIELDS = 5
_TICK = timedelta(microseconds=1)


class Missed(StrEnum):
    """What becomes of moments that were missed, because no core ran or the clock was put forward."""

    #: one task stands for all of them.
    ONCE = "once"
    #: nothing.
    SKIP = "skip"
    #: a task for each, `MOST_AT_ONCE` at most.
    ALL = "all"


class ScheduleStatus(StrEnum):
    """The statuses of a schedule, in IronWorker's words; the last two are final."""

    SCHEDULED = "scheduled"
    COMPLETE = "complete"
    CANCELLED = "cancelled"


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name; empty is UTC.

    Raises:
        TaskRefused: nobody knows it.
    """
    if name in ("", "UTC"):
        return UTC
    try:
        if len(name) > ZONE_CHARACTERS:
            raise ValueError(name)
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        reason = f"there is no {name[:ZONE_CHARACTERS]!a}; give an IANA name, such as Europe/Vienna"
        raise TaskRefused(reason, field="time_zone") from error


def moment_from(row: ScheduleRow, at: datetime) -> datetime | None:
    """Return the first moment of a schedule at this time or later, or None without any.

    Raises:
        TaskRefused: its cron expression or time zone cannot be.
    """
    start_at = row.start_at or row.created_at
    at = max(at, start_at)
    if row.cron:
        found = _by_cron(row.cron, zone_of(row.time_zone), at)
    elif row.run_every_s:
        every = timedelta(seconds=row.run_every_s)
        found = start_at + every * -((start_at - at) // every)
    else:
        found = start_at if at == start_at else None
    is_over = found is None or (row.end_at is not None and found > row.end_at)
    return None if is_over else found


def _by_cron(expression: str, zone: tzinfo, at: datetime) -> datetime | None:
    if len(expression) > CRON_CHARACTERS or len(expression.split()) != _CRON_FIELDS:
        raise TaskRefused(
            "give five fields: minute, hour, day of the month, month, day of the week", field="cron"
        )
    try:
        # It counts seconds, from the one after the time it is given.
        for local in CronSim(expression, (at - _TICK).astimezone(zone)):
            # An hour that comes twice is its first one there, even when that is over.
            if (found := local.astimezone(UTC)) >= at:
                return found
    except CronSimError as error:
        raise TaskRefused(f"{expression!a}: {error}", field="cron") from error
    except (OverflowError, ValueError):  # behind the last year that there is
        return None
    return None


def moments(row: ScheduleRow, at: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the moments of a schedule from one time to another, both included."""
    found = moment_from(row, at)
    while found is not None and found <= until:
        yield found
        found = moment_from(row, found + _TICK)


def fired(row: ScheduleRow, now: datetime) -> tuple[ScheduleRow, int]:
    """Return a schedule that is due as it stands after its turn, and how many tasks it makes in it.

    Raises:
        TaskRefused: its cron expression or time zone cannot be.
    """
    passed_count = sum(1 for _ in islice(moments(row, row.next_at or now, now), MOST_AT_ONCE + 1))
    task_count = min(_made_up(row, passed_count, now), _left(row))
    next_row = msgspec.structs.replace(
        row,
        run_count=row.run_count + task_count,
        last_at=now if task_count else row.last_at,
        next_at=moment_from(row, now + _TICK),
        msg=_lost(passed_count, task_count, now) if task_count < passed_count else "",
        updated_at=now,
    )
    return settled(next_row), task_count


def _made_up(row: ScheduleRow, passed_count: int, now: datetime) -> int:
    late = timedelta(seconds=LATE_S)
    if row.end_at is not None and now > row.end_at + late:
        return 0
    if row.missed == Missed.ALL:
        return min(passed_count, MOST_AT_ONCE)
    if row.missed == Missed.SKIP:
        last_at = moment_from(row, max(now - late, row.next_at or now))
        return 1 if last_at is not None and last_at <= now else 0
    return 1


def _left(row: ScheduleRow) -> int:
    return row.run_times - row.run_count if row.run_times else MOST_AT_ONCE


def _lost(passed_count: int, task_count: int, now: datetime) -> str:
    shown = f"more than {MOST_AT_ONCE}" if passed_count > MOST_AT_ONCE else str(passed_count)
    return f"Moments passed until {iso(now)}: {shown}, tasks made: {task_count}."


def settled(row: ScheduleRow) -> ScheduleRow:
    """Return a schedule as complete if it has nothing left to do, else as it is."""
    is_enough = 0 < row.run_times <= row.run_count
    if not is_enough and row.next_at is not None:
        return row
    is_once = not row.cron and not row.run_every_s
    is_run = is_enough or (is_once and row.run_count > 0)
    reason = "Ran max times." if is_run else "Reached its end."
    msg = f"{reason} {row.msg}".strip()
    return msgspec.structs.replace(row, status=ScheduleStatus.COMPLETE, next_at=None, msg=msg)


def cancelled(row: ScheduleRow, now: datetime, msg: str = "") -> ScheduleRow:
    """Return a schedule that makes nothing any more."""
    return msgspec.structs.replace(
        row, status=ScheduleStatus.CANCELLED, next_at=None, msg=msg, updated_at=now
    )


def set_back(row: ScheduleRow, now: datetime) -> ScheduleRow:
    """Return a schedule that fired in a future that was none, as it goes on from now.

    Raises:
        TaskRefused: its cron expression or time zone cannot be.
    """
    return msgspec.structs.replace(row, last_at=now, next_at=moment_from(row, now), updated_at=now)

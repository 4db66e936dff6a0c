"""The moments of schedules, both changes of summer time among them, and what is missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reworker.core.tasks.firing import (
    LATE_S,
    MOST_AT_ONCE,
    Missed,
    ScheduleStatus,
    cancelled,
    fired,
    moment_from,
    moments,
    set_back,
    zone_of,
)
from reworker.storage.task_rows import ScheduleRow
from reworker.task_errors import TaskRefused

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
VIENNA = "Europe/Vienna"


def schedule(**fields: object) -> ScheduleRow:
    row = ScheduleRow(
        id="e" * 24,
        project_id="a" * 24,
        code_name="Fib",
        payload="{}",
        status=ScheduleStatus.SCHEDULED,
        start_at=START,
        end_at=None,
        next_at=START,
        last_at=None,
        run_every_s=0.0,
        cron="",
        time_zone="",
        run_times=0,
        run_count=0,
        missed=Missed.ONCE,
        msg="",
        label="",
        options=b"{}",
        actor="ann",
        created_at=START - timedelta(days=1),
        updated_at=START,
    )
    return msgspec.structs.replace(row, **fields)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def local_times(cron: str, zone: str, at: datetime, count: int) -> list[str]:
    """Return the next moments of an expression as clocks show them there."""
    row = schedule(cron=cron, time_zone=zone, start_at=at)
    found = islice(moments(row, at, at + timedelta(days=4000)), count)
    return [one.astimezone(ZoneInfo(zone)).strftime("%m-%d %H:%M%z") for one in found]


def test_schedule_without_repetition_has_its_start_alone() -> None:
    assert moment_from(schedule(), after(-100)) == START
    assert moment_from(schedule(), START) == START
    assert moment_from(schedule(), after(1)) is None


def test_start_is_when_it_was_made_when_none_was_stored() -> None:
    row = schedule(start_at=None)
    assert moment_from(row, row.created_at) == row.created_at


@pytest.mark.parametrize(
    ("at_s", "expected_s"), [(-50, 0), (0, 0), (0.5, 90), (90, 90), (90.000001, 180), (899, 900)]
)
def test_interval_keeps_to_its_grid_whenever_somebody_looks(at_s: float, expected_s: float) -> None:
    assert moment_from(schedule(run_every_s=90.0), after(at_s)) == after(expected_s)


def test_interval_does_not_drift_over_a_million_periods() -> None:
    row = schedule(run_every_s=60.1)
    assert moment_from(row, after(60.1 * 1_000_000 - 1)) == START + timedelta(seconds=60.1) * 1_000_000


def test_no_moment_is_after_the_end_but_one_may_be_at_it() -> None:
    row = schedule(run_every_s=60.0, end_at=after(120))
    assert list(moments(row, START, after(1000))) == [START, after(60), after(120)]
    assert moment_from(row, after(121)) is None


@given(
    st.floats(60, 1e6, allow_nan=False), st.integers(-(10**9), 10**9), st.sampled_from(["", "*/7 3 * * 1-5"])
)
def test_moment_is_never_before_the_time_nor_before_the_start(every_s: float, at_s: int, cron: str) -> None:
    row = schedule(run_every_s=0.0 if cron else every_s, cron=cron)
    found = moment_from(row, after(at_s))
    assert found is not None
    assert found >= max(START, after(at_s))
    assert moment_from(row, found) == found


def test_cron_goes_by_the_clock_of_its_zone() -> None:
    winter, summer = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 7, 10, tzinfo=UTC)
    assert local_times("30 8 * * *", VIENNA, winter, 2) == ["01-10 08:30+0100", "01-11 08:30+0100"]
    assert local_times("30 8 * * *", VIENNA, summer, 1) == ["07-10 08:30+0200"]
    assert moment_from(schedule(cron="30 8 * * *"), winter) == START + timedelta(hours=20, minutes=30)


def test_cron_is_at_a_moment_that_is_just_now() -> None:
    row = schedule(cron="0 12 * * *")
    assert moment_from(row, START) == START
    assert moment_from(row, START + timedelta(microseconds=1)) == START + timedelta(days=1)


SPRING, AUTUMN = datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)


def test_job_at_an_hour_that_does_not_come_is_run_after_the_gap() -> None:
    found = local_times("30 2 * * *", VIENNA, SPRING, 2)
    assert found == ["03-29 03:00+0200", "03-30 02:30+0200"]


def test_job_at_an_hour_that_comes_twice_is_run_once() -> None:
    found = local_times("30 2 * * *", VIENNA, AUTUMN, 2)
    assert found == ["10-25 02:30+0200", "10-26 02:30+0100"]


def test_job_of_the_first_of_two_hours_is_not_run_again_when_looked_at_in_the_second() -> None:
    in_second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert local_times("30 2 * * *", VIENNA, in_second, 1) == ["10-26 02:30+0100"]
    assert local_times("5,30 2-3 * * *", VIENNA, in_second, 1) == ["10-25 03:05+0100"]


def test_job_of_every_hour_goes_on_through_both_changes() -> None:
    spring = local_times("0 * * * *", VIENNA, SPRING + timedelta(hours=4), 3)
    assert spring == ["03-29 01:00+0100", "03-29 03:00+0200", "03-29 04:00+0200"]
    autumn = local_times("0 * * * *", VIENNA, AUTUMN + timedelta(hours=3), 4)
    assert autumn == ["10-25 01:00+0200", "10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100"]
    quarters = local_times("*/15 * * * *", VIENNA, AUTUMN + timedelta(hours=4), 9)
    assert [one[6:] for one in quarters][3:6] == ["02:45+0200", "02:00+0100", "02:15+0100"]


def test_interval_is_of_seconds_that_pass_through_both_changes() -> None:
    row = schedule(run_every_s=3600.0, time_zone=VIENNA, start_at=AUTUMN)
    assert len(list(moments(row, AUTUMN, AUTUMN + timedelta(hours=10)))) == 11


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "0 * * * * *",
        "60 * * * *",
        "0 0 30 2 *",
        "a b c d e",
        "@daily",
        "*/0 * * * *",
        "1" * 201,
    ],
)
def test_expression_is_refused_when_it_can_not_be(cron: str) -> None:
    with pytest.raises(TaskRefused, match="cron"):
        moment_from(schedule(cron=cron or " "), START)


@given(st.text(alphabet="0123456789*/,-#LWMONa² ", max_size=30))
@example("1 1 1 1 L")
@example("0 0 L/2 * 5#1")
@example("0 0 * * 5#1/2")
def test_any_expression_has_moments_or_is_refused(cron: str) -> None:
    try:
        found = moment_from(schedule(cron=cron or " "), START)
    except TaskRefused:
        return
    assert found is None or found >= START


@pytest.mark.parametrize("name", ["Mars/Base", "America", "../etc/passwd", "/etc/localtime", "\0", "é" * 65])
def test_time_zone_is_refused_when_nobody_knows_it(name: str) -> None:
    with pytest.raises(TaskRefused, match="time_zone"):
        zone_of(name)


def test_time_zone_is_utc_when_none_is_named() -> None:
    assert zone_of("") == zone_of("UTC") == UTC


def test_there_is_no_moment_behind_the_last_year() -> None:
    last = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
    assert moment_from(schedule(cron="0 0 * * *"), last) is None
    assert moment_from(schedule(cron="0 0 * * *", time_zone="Pacific/Kiritimati"), last) is None


def test_one_task_alone_makes_a_schedule_complete() -> None:
    row, count = fired(schedule(), after(2))
    assert (count, row.run_count, row.status, row.msg) == (1, 1, "complete", "Ran max times.")
    assert (row.next_at, row.last_at, row.updated_at) == (None, after(2), after(2))


def test_schedule_goes_on_to_its_next_moment() -> None:
    row, count = fired(schedule(run_every_s=60.0), after(2))
    assert (count, row.run_count, row.status, row.msg) == (1, 1, "scheduled", "")
    assert (row.next_at, row.last_at) == (after(60), after(2))


def test_schedule_is_complete_when_it_ran_as_often_as_it_should() -> None:
    row, count = fired(schedule(run_every_s=60.0, run_times=3, run_count=1), START)
    assert (count, row.status, row.next_at) == (1, "scheduled", after(60))
    row, count = fired(row, after(60))
    assert (count, row.run_count, row.status, row.msg) == (1, 3, "complete", "Ran max times.")


def test_schedule_is_complete_when_its_end_comes_first() -> None:
    row, count = fired(schedule(run_every_s=60.0, end_at=after(59)), START)
    assert (count, row.status, row.msg, row.next_at) == (1, "complete", "Reached its end.", None)


def test_one_task_stands_for_all_that_were_missed() -> None:
    row, count = fired(schedule(run_every_s=60.0), after(605))
    assert (count, row.run_count, row.next_at) == (1, 1, after(660))
    assert row.msg == "Moments passed until 2026-03-01T12:10:05.000Z: 11, tasks made: 1."
    row, count = fired(row, after(660))
    assert (count, row.msg) == (1, "")


def test_missed_moments_are_skipped_when_the_last_one_is_long_ago() -> None:
    row = schedule(run_every_s=3600.0, missed=Missed.SKIP)
    skipped, count = fired(row, after(3600 + LATE_S + 1))
    assert (count, skipped.run_count, skipped.last_at, skipped.next_at) == (0, 0, None, after(7200))
    assert skipped.msg.endswith(": 2, tasks made: 0.")
    on_time, count = fired(row, after(3600 + LATE_S))
    assert (count, on_time.run_count, on_time.next_at) == (1, 1, after(7200))


def test_one_task_alone_is_skipped_when_it_is_too_late() -> None:
    row, count = fired(schedule(missed=Missed.SKIP), after(LATE_S + 1))
    assert (count, row.status) == (0, "complete")
    assert row.msg == "Reached its end. Moments passed until 2026-03-01T12:01:01.000Z: 1, tasks made: 0."


def test_each_missed_moment_has_its_task_when_all_are_wanted() -> None:
    row, count = fired(schedule(run_every_s=60.0, missed=Missed.ALL), after(605))
    assert (count, row.run_count, row.next_at, row.msg) == (11, 11, after(660), "")


def test_missed_moments_are_bounded_when_there_are_very_many() -> None:
    year_s = 366 * 86_400.0
    row, count = fired(schedule(cron="* * * * *", missed=Missed.ALL), after(year_s))
    assert (count, row.next_at) == (MOST_AT_ONCE, after(year_s + 60))
    assert row.msg.endswith(": more than 100, tasks made: 100.")
    row, count = fired(schedule(cron="* * * * *"), after(year_s))
    assert (count, row.msg.endswith(": more than 100, tasks made: 1.")) == (1, True)


def test_no_more_tasks_are_made_up_for_than_a_schedule_has_left() -> None:
    row, count = fired(schedule(run_every_s=60.0, missed=Missed.ALL, run_times=5, run_count=3), after(605))
    assert (count, row.run_count, row.status) == (2, 5, "complete")
    assert row.msg.startswith("Ran max times. Moments passed until")


def test_nothing_is_made_up_for_when_the_end_is_over() -> None:
    row = schedule(run_every_s=60.0, missed=Missed.ALL, end_at=after(300))
    done, count = fired(row, after(300 + LATE_S + 1))
    assert (count, done.status) == (0, "complete")
    assert done.msg.endswith(": 6, tasks made: 0.")
    done, count = fired(row, after(300 + LATE_S))
    assert (count, done.status) == (6, "complete")


@settings(max_examples=30)
@given(
    st.sampled_from(list(Missed)),
    st.integers(0, 5),
    st.lists(st.floats(0, 10_000), min_size=1, max_size=10),
    st.booleans(),
)
def test_schedule_never_makes_more_tasks_than_it_has_moments(
    missed: Missed, run_times: int, waits_s: list[float], has_end: bool
) -> None:
    row = schedule(
        run_every_s=60.0, missed=missed, run_times=run_times, end_at=after(7000) if has_end else None
    )
    now, made = START, 0
    for wait_s in waits_s:
        now += timedelta(seconds=wait_s)
        if row.next_at is None or row.next_at > now:
            continue
        row, count = fired(row, now)
        made += count
        assert row.run_count == made <= len(list(moments(schedule(run_every_s=60.0), START, now)))
        assert not run_times or made <= run_times
        assert (row.next_at is None) == (row.status == "complete")
        assert row.next_at is None or row.next_at > now


def test_cancelled_schedule_has_no_moment() -> None:
    row = cancelled(schedule(), after(1), "because")
    assert (row.status, row.next_at, row.msg, row.updated_at) == ("cancelled", None, "because", after(1))


def test_schedule_goes_on_from_now_when_the_clock_was_put_back() -> None:
    row, _ = fired(schedule(run_every_s=3600.0), after(365 * 86_400))
    back = set_back(row, after(90))
    assert (back.next_at, back.last_at, back.run_count) == (after(3600), after(90), 1)

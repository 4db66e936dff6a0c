"""Schedules as they are asked for and changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from reworker.core.tasks.firing import fired
from reworker.core.tasks.options import ScheduleOptions, TaskOptions, decoded
from reworker.core.tasks.queueing import TaskDraft
from reworker.core.tasks.schedule_drafts import ScheduleChanges, ScheduleDraft, changed, made, task_draft
from reworker.storage.task_rows import ScheduleRow
from reworker.task_errors import TaskRefused

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT_7 = datetime(2026, 1, 2, 7, tzinfo=UTC)


def make(**fields: Any) -> ScheduleRow:
    return made(ScheduleDraft("Fib", **fields), NOW, own_id="e" * 24, project_id="a" * 24, actor="ann")


def change(row: ScheduleRow, at: datetime = NOW, **fields: Any) -> ScheduleRow:
    return changed(row, ScheduleChanges(**fields), at)


def test_task_is_made_at_once_when_nothing_was_said_of_time() -> None:
    row = make(payload="{}", label="l")
    assert (row.start_at, row.next_at, row.run_count, row.status) == (NOW, NOW, 0, "scheduled")
    assert (row.payload, row.label, row.project_id, row.actor) == ("{}", "l", "a" * 24, "ann")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"delay_s": 180}, NOW + timedelta(seconds=180)),
        ({"start_at": NOW + HOUR}, NOW + HOUR),
        ({"start_at": NOW + HOUR, "delay_s": 60}, NOW + HOUR),
        ({"start_at": NOW + HOUR, "delay_s": 7200}, NOW + 2 * HOUR),
        ({"start_at": NOW - HOUR}, NOW - HOUR),
        ({"run_every_s": 60}, NOW),
        ({"run_every_s": 3600, "start_at": NOW - 2.5 * HOUR}, NOW - 0.5 * HOUR),
        ({"cron": "0 * * * *", "start_at": NOW - 2.5 * HOUR}, datetime(2026, 1, 2, 4, 0, tzinfo=UTC)),
        ({"run_every_s": 60, "delay_s": 30}, NOW + timedelta(seconds=30)),
        ({"cron": "0 * * * *"}, datetime(2026, 1, 2, 4, 0, tzinfo=UTC)),
        ({"cron": "0 * * * *", "delay_s": 3600}, datetime(2026, 1, 2, 5, 0, tzinfo=UTC)),
        ({"cron": "0 9 * * *", "time_zone": "Asia/Tokyo"}, datetime(2026, 1, 3, 0, 0, tzinfo=UTC)),
        ({"start_at": datetime(1, 1, 1), "end_at": datetime(1, 1, 1, tzinfo=UTC)}, NOW),  # noqa: DTZ001 - as it is sent
        ({"start_at": datetime(2026, 1, 2, 9)}, datetime(2026, 1, 2, 9, tzinfo=UTC)),  # noqa: DTZ001 - as it is sent
        ({"start_at": datetime(2026, 1, 2, 9, tzinfo=timezone(2 * HOUR))}, AT_7),
    ],
)  # fmt: skip
def test_first_moment_is_never_before_the_start_or_the_delay(
    fields: dict[str, Any], expected: datetime
) -> None:
    row = make(**fields)
    assert (row.next_at, row.end_at) == (expected, None)


BAD = [
    ({"run_every_s": 59.9}, "run_every"),
    ({"run_every_s": -1}, "run_every"),
    ({"run_every_s": float("nan")}, "run_every"),
    ({"run_every_s": float("inf")}, "run_every"),
    ({"run_every_s": 60, "cron": "* * * * *"}, "run_every"),
    ({"cron": "* * * *"}, "cron"),
    ({"cron": "0 0 31 2 *"}, "cron"),
    ({"cron": "0 0 1 1 *", "end_at": NOW + HOUR}, "cron"),
    ({"time_zone": "Mars/Base"}, "time_zone"),
    ({"end_at": NOW - HOUR}, "end_at"),
    ({"start_at": NOW + 2 * HOUR, "end_at": NOW + HOUR}, "end_at"),
    ({"start_at": NOW - 2 * HOUR, "end_at": NOW - HOUR}, "end_at"),
    ({"start_at": datetime(9999, 1, 1, tzinfo=UTC)}, "start_at"),
    ({"end_at": datetime(1969, 1, 1, tzinfo=UTC)}, "end_at"),
    ({"delay_s": -1}, "delay"),
    ({"delay_s": 7 * 86_400 + 1}, "delay"),
    ({"delay_s": float("nan")}, "delay"),
    ({"run_times": -1}, "run_times"),
    ({"run_times": 2**40}, "run_times"),
    ({"missed": "maybe"}, "missed"),
    ({"payload": "x" * ((64 << 10) + 1)}, "payload"),
    ({"payload": "\ud800"}, "payload"),
    ({"label": "x" * 1001}, "label"),
    ({"options": ScheduleOptions(priority=3)}, "priority"),
    ({"options": ScheduleOptions(timeout_s=0)}, "timeout"),
    ({"options": ScheduleOptions(delay_s=-1)}, "delay"),
]


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_draft_is_refused_when_a_value_cannot_be(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(TaskRefused) as caught:
        make(**fields)
    assert caught.value.field == field


def test_each_task_has_what_was_said_of_all() -> None:
    options = ScheduleOptions(
        "n", 2, 60.0, 5.0, "big", is_sync=True, result_queue="q", result_url="https://u"
    )
    row = make(payload="{}", label="l", options=options)
    assert task_draft(row) == TaskDraft(
        code_name="Fib",
        payload="{}",
        priority=2,
        delay_s=5.0,
        timeout_s=60.0,
        label="l",
        cluster="big",
        schedule_id=row.id,
        options=TaskOptions("n", is_sync=True, result_queue="q", result_url="https://u"),
    )


def test_what_is_not_given_stays_when_a_schedule_is_changed() -> None:
    row = make(run_every_s=60, options=ScheduleOptions(name="n", priority=1), payload="{}")
    after = change(row, NOW + HOUR, label="x", timeout_s=30.0)
    expected = ScheduleOptions(name="n", priority=1, timeout_s=30.0)
    assert decoded(ScheduleOptions, after.options) == expected
    assert after == msgspec.structs.replace(row, label="x", options=after.options, updated_at=NOW + HOUR)
    assert decoded(ScheduleOptions, change(after, priority=None).options).priority is None


def test_schedule_with_another_timing_goes_on_at_a_moment_that_is_not_over() -> None:
    row, _ = fired(make(run_every_s=3600), NOW)
    at = NOW + timedelta(minutes=10, seconds=1)
    assert change(row, at, run_every_s=120).next_at == NOW + timedelta(minutes=12)
    assert change(row, at, run_every_s=0, cron="0 0 * * *").next_at == datetime(2026, 1, 3, tzinfo=UTC)
    assert change(row, at, start_at=NOW + 3 * HOUR).next_at == NOW + 3 * HOUR
    assert change(row, at, start_at=NOW - HOUR).next_at == NOW + HOUR
    assert change(row, at, run_every_s=3600).next_at == row.next_at


def test_task_alone_gets_another_start() -> None:
    row = make(start_at=NOW + HOUR)
    assert change(row, start_at=NOW + 2 * HOUR).next_at == NOW + 2 * HOUR
    assert change(row, start_at=NOW - HOUR).next_at == NOW - HOUR


def test_time_zone_of_an_expression_is_changed() -> None:
    row = make(cron="0 9 * * *")
    assert row.next_at == datetime(2026, 1, 2, 9, tzinfo=UTC)
    assert change(row, time_zone="Asia/Tokyo").next_at == datetime(2026, 1, 3, tzinfo=UTC)


def test_schedule_is_complete_when_a_change_leaves_it_nothing_to_do() -> None:
    row, _ = fired(make(run_every_s=60), NOW)
    assert change(row, run_times=1).status == "complete"
    done = change(row, end_at=NOW + timedelta(seconds=30))
    assert (done.status, done.msg, done.next_at) == ("complete", "Reached its end.", None)


def test_change_is_refused_when_a_value_cannot_be_or_the_schedule_is_over() -> None:
    row = make(run_every_s=60)
    for fields, field in (
        ({"run_every_s": 5}, "run_every"),
        ({"cron": "* * * * *"}, "run_every"),
        ({"end_at": NOW - HOUR}, "end_at"),
        ({"priority": 7}, "priority"),
        ({"run_every_s": 0, "cron": "x"}, "cron"),
    ):
        with pytest.raises(TaskRefused) as caught:
            change(row, **fields)
        assert caught.value.field == field
    done, _ = fired(make(), NOW)
    with pytest.raises(TaskRefused, match="is complete, so make a new one"):
        change(done, label="x")

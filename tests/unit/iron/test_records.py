"""What the client makes of answers and of options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from reworker.iron import Schedule, Task, TaskRefused
from reworker.iron.options import ScheduleOptions, TaskOptions, on_wire, text_of
from reworker.iron.records import id_of, record
from reworker.iron.refusals import reason_of


def test_task_has_what_came_when_it_is_read() -> None:
    raw = {
        "id": "a" * 24,
        "status": "complete",
        "code_name": "Fib",
        "timeout": 60,
        "duration": 1500,
        "percent": None,
        "start_time": "2016-06-08T17:52:09.689Z",
        "end_time": "soon",
        "news": 1,
    }
    task = record(Task, raw)
    assert (task.id, task.timeout_s, task.duration_ms, task.percent) == ("a" * 24, 60, 1500, 0)
    assert task.start_time == datetime(2016, 6, 8, 17, 52, 9, 689000, UTC)
    assert task.end_time is None
    assert task.raw == raw
    assert task.is_over
    assert task.is_complete


@pytest.mark.parametrize("status", ["queued", "preparing", "running"])
def test_task_goes_on_when_its_status_is_one_of_those(status: str) -> None:
    assert not record(Task, {"id": "1", "status": status}).is_over
    assert record(Task, {"id": "1", "status": "exploded"}).is_over


def test_time_is_unset_when_its_year_is_one() -> None:
    schedule = record(Schedule, {"id": "1", "end_at": "0001-01-01T00:00:00Z", "run_every": 60})
    assert (schedule.end_at, schedule.run_every_s) == (None, 60)


def test_id_is_taken_from_a_record_or_as_it_is() -> None:
    assert id_of(Task("x")) == id_of("x") == "x"


def test_options_have_the_names_of_the_wire_when_they_are_sent() -> None:
    assert on_wire(TaskOptions, {"timeout_s": 5, "delay_s": 1, "priority": 2, "label": None}) == {
        "timeout": 5,
        "delay": 1,
        "priority": 2,
    }
    zone = timezone(timedelta(hours=2))
    said = on_wire(ScheduleOptions, {"start_at": datetime(2030, 1, 1, 12, tzinfo=zone), "task_delay_s": 3})
    assert said == {"start_at": "2030-01-01T12:00:00+02:00", "task_delay": 3}
    assert on_wire(ScheduleOptions, {"end_at": "2030-01-01T12:00:00Z"}) == {"end_at": "2030-01-01T12:00:00Z"}


def test_time_without_a_zone_is_that_of_the_machine_when_it_is_sent() -> None:
    naive = datetime(2030, 1, 1, 12, tzinfo=UTC).replace(tzinfo=None)
    said = on_wire(ScheduleOptions, {"start_at": naive})["start_at"]
    assert datetime.fromisoformat(said).tzinfo is not None


def test_option_is_refused_with_a_suggestion_when_there_is_none_of_that_name() -> None:
    with pytest.raises(TaskRefused, match=r"prority: there is no such option; did you mean priority\?"):
        on_wire(TaskOptions, {"prority": 1})
    with pytest.raises(TaskRefused, match="there are cluster, delay_s"):
        on_wire(TaskOptions, {"xyz": 1})


def test_payload_is_text_when_it_is_sent() -> None:
    assert [text_of(one) for one in ("raw", None, {"max": 1}, [])] == ["raw", "{}", '{"max": 1}', "[]"]
    with pytest.raises(TaskRefused, match="payload: cannot be written as JSON"):
        text_of({1, 2})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"msg": "Not found"}', "Not found"),
        (b'{"detail": "gone"}', "gone"),
        (b"plain \xff", "plain \ufffd"),
        (b"[1]", "[1]"),
        (b"x" * 1000, "x" * 500),
    ],
)
def test_reason_is_what_the_server_says_of_an_error(body: bytes, reason: str) -> None:
    assert reason_of(body) == reason

"""What who follows a task is told while it does not begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from reworker.cli.unstarted import FIRST_S, Unstarted, line_of
from reworker.core.tasks.views import Task

DUE = datetime(2026, 11, 28, tzinfo=UTC)


def task(**values: object) -> Task:
    names = ("project_id", "code_id", "label", "cluster", "schedule_id", "original_id", "retry_task_id")
    own = dict.fromkeys((*names, "message", "actor"), "")
    numbers = dict.fromkeys(("rev", "priority", "delay_s", "timeout_s", "retry_no", "percent"), 0)
    times = {"due_at": DUE, "created_at": DUE, "updated_at": DUE, "started_at": None, "ended_at": None}
    flags = {"is_over": False, "has_deployment": False, "status": "queued", "project": "default"}
    return msgspec.convert(
        {"id": "a" * 24, "code": "fib", "payload": None, **own, **numbers, **times, **flags, **values}, Task
    )


def after(seconds: float) -> datetime:
    return DUE + timedelta(seconds=seconds)


def test_wait_is_told_of_after_some_seconds_and_again_when_it_is_twice_as_long() -> None:
    unstarted = Unstarted()
    moments = (0, FIRST_S - 1, FIRST_S, FIRST_S + 1, 2 * FIRST_S, 3 * FIRST_S, 4 * FIRST_S)
    told = [unstarted.is_due(task(), after(one)) for one in moments]
    assert told == [False, False, True, False, True, False, True]


def test_task_that_runs_or_is_not_due_is_not_told_of() -> None:
    assert not Unstarted().is_due(task(status="running"), after(100))
    assert not Unstarted().is_due(task(due_at=after(1000)), after(100))


def test_line_says_what_the_task_waits_for() -> None:
    assert "for 7 s: no core has started it" in line_of(task(), after(7), is_paused=False)
    assert "reworker code resume fib" in line_of(task(), after(7), is_paused=True)
    assert "no code worker has taken it" in line_of(task(has_deployment=True), after(7), is_paused=True)

"""What `reworker task show` says of a task."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from reworker.cli.task import facts_of
from reworker.core.tasks.views import Task

DUE = datetime(2026, 11, 28, tzinfo=UTC)


def task(message: str) -> Task:
    names = ("project_id", "code_id", "label", "cluster", "schedule_id", "original_id", "retry_task_id")
    numbers = dict.fromkeys(("rev", "priority", "delay_s", "timeout_s", "retry_no", "percent"), 0)
    times = {"due_at": DUE, "created_at": DUE, "updated_at": DUE, "started_at": None, "ended_at": None}
    own = {"id": "a" * 24, "code": "fib", "project": "default", "status": "error", "actor": "ann"}
    flags = {"is_over": True, "has_deployment": True, "message": message}
    return msgspec.convert({**dict.fromkeys(names, ""), **numbers, **times, **own, **flags}, Task)


@pytest.mark.parametrize("message", ["exit code 3", "y" * 80])
def test_short_reason_stands_in_the_first_line_alone(message: str) -> None:
    lines = list(facts_of(task(message)))
    assert lines[0].endswith(f"  ({message})")
    assert [one for one in lines if message in one] == lines[:1]


def test_long_reason_is_shown_whole() -> None:
    reason = "there is no runtime 'cobol'; there are " + ", ".join(f"runtime{number}" for number in range(20))
    first, *rest = facts_of(task(f"{reason}\nor so"))
    assert first.endswith("...)")
    assert [f"says: {reason}", "says: or so"] == [one for one in rest if one.startswith("says: ")]

"""Figures of tasks by the SDKs' names: read by Prometheus' own parser."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from reworker.host.metrics import exposition
from tests.unit.conductor.kit import COMPLETED, LEVEL_2, Styled, body, result, station_of


def figures_after(*answers: Any) -> dict[tuple[str, tuple[str, ...]], float]:
    """Have a worker give these answers; return each line by its name and the values of its labels."""
    worker = Styled()
    harness = station_of(worker)
    for number, answer in enumerate(answers):
        worker.answer = answer
        harness.run(harness.delivery(body(), headers=LEVEL_2, correlation_id=f"task {number}"))
    text = exposition(harness.worker.own_families())  # type: ignore[attr-defined]  # of adapters
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {(one.name, tuple(one.labels.values())): one.value for one in samples}


def test_tasks_are_counted_by_type_status_and_exception() -> None:
    later = result("IN_PROGRESS", callback_after_seconds=5)
    found = figures_after(COMPLETED, later, result("FAILED"), ValueError("no"), ValueError("no"))
    assert found["task_execution_started_total", ("frob",)] == 5
    assert found["task_execute_error_total", ("frob", "TaskFailed")] == 1
    assert found["task_execute_error_total", ("frob", "ValueError")] == 2
    assert found["task_execute_time_seconds_count", ("frob", "SUCCESS")] == 2
    assert found["task_execute_time_seconds_count", ("frob", "FAILURE")] == 3
    assert found["task_execute_time_seconds_bucket", ("frob", "SUCCESS", "10")] == 2
    assert found["active_workers", ("frob",)] == 0


def test_task_that_runs_is_active() -> None:
    seen: list[float] = []

    def answer(worker: Styled, _task: Any) -> dict[str, Any]:
        families = {one.name: one for one in harness.worker.own_families()}  # type: ignore[attr-defined]  # of adapters
        seen.append(families["active_workers"].samples[0].value)
        return {}

    harness = station_of(Styled(answer))
    harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert seen == [1]


def test_nothing_was_counted_before_the_first_task() -> None:
    found = figures_after()
    assert found == {("task_execution_started_total", ("frob",)): 0, ("active_workers", ("frob",)): 0}

"""Counting jobs: by subcommand and end, with bounds for what messages can make us remember."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.errors import JobRetry
from reworker.execution import execute
from reworker.jobs.tally import BOUNDS_S, OTHER, SUBCOMMAND_COUNT, JobTally
from reworker.testing import Harness
from reworker.testing.scripted import ScriptedWorker
from tests.unit.worker.kit import LEVEL_2, StepWorker, body, step_body


def ends(tally: JobTally) -> dict[tuple[str, str], int]:
    return {(subcommand, status): sum(counts) for subcommand, status, counts, _ in tally.ends()}


def test_jobs_are_counted_by_subcommand_and_end() -> None:
    tally = JobTally()
    for subcommand, status in [("A", "completed"), ("A", "completed"), ("A", "failed"), ("B", "completed")]:
        tally.note(subcommand, status, 0.1)
    assert ends(tally) == {("A", "completed"): 2, ("A", "failed"): 1, ("B", "completed"): 1}


def test_duration_falls_into_the_first_class_that_holds_it() -> None:
    tally = JobTally()
    for duration_s in (0.0, 0.001, 0.002, BOUNDS_S[-1] + 1):
        tally.note("A", "completed", duration_s)
    ((_, _, counts, total_s),) = tally.ends()
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert total_s == pytest.approx(BOUNDS_S[-1] + 1.003)


@pytest.mark.parametrize("subcommand", [None, 1, 1.5, True, [], {"a": []}, "x" * 10_000, "\ud800"])
def test_any_subcommand_of_a_message_can_be_counted(subcommand: Any) -> None:
    tally = JobTally()
    for _ in range(2):
        tally.note(subcommand, "failed", 0.1)
    ((name, status),) = ends(tally)
    assert (len(name) <= 60, status, ends(tally)[name, status]) == (True, "failed", 2)


def test_names_from_messages_cannot_fill_the_memory() -> None:
    tally = JobTally()
    for number in range(SUBCOMMAND_COUNT + 50):
        tally.note(f"S{number}", "failed", 0.1)
    tally.note("S1", "failed", 0.1)
    assert len(ends(tally)) == SUBCOMMAND_COUNT + 1
    assert (ends(tally)[OTHER, "failed"], ends(tally)["S1", "failed"]) == (50, 2)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("complete", "completed"), ("fail", "failed"), ("raise", "failed"), ("silent", "failed")],
)
def test_job_is_counted_by_how_it_ended(outcome: str, status: str) -> None:
    harness = Harness(ScriptedWorker)
    harness.run(harness.delivery(body(outcome), headers=LEVEL_2))
    assert ends(harness.station.tally) == {("Play", status): 1}


def test_job_that_is_tried_again_is_counted_as_returned() -> None:
    harness = Harness(StepWorker)
    harness.worker.error = JobRetry()  # type: ignore[attr-defined]  # of StepWorker
    harness.run(harness.delivery(step_body(), headers=LEVEL_2))
    assert ends(harness.station.tally) == {("Do", "returned"): 1}


def test_message_that_is_answered_and_not_run_is_no_job() -> None:
    harness = Harness(ScriptedWorker)
    harness.station.cancellations.add("0123456789abcdef01234567.1", "no more")
    for message in (body(), b"broken"):
        execute(harness.worker, harness.station, harness.delivery(message, headers=LEVEL_2))
    assert ends(harness.station.tally) == {}
    assert (harness.station.counts["malformed"], harness.station.counts["dead_lettered"]) == (1, 1)

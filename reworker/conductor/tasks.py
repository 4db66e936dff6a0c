"""From the delivery of a step to the `Task` that a worker in Conductor's style is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.conductor.arguments import RAW_KEY
from reworker.conductor.models import Task
from reworker.conductor.outcomes import PROGRESS_KEY
from reworker.ids import parse_attempt_id
from reworker.jobs.attempt import Attempt
from reworker.jobs.trying import failures_of


def task_of(attempt: Attempt, task_type: str, worker_id: str) -> Task:
    """Return the task of a delivery whose body was understood.

    Args:
        attempt: its record.
        task_type: the worker type, without a domain.
        worker_id: who executes it.
    """
    step, properties = attempt.step, attempt.delivery.properties
    assert step is not None
    correlation_id = attempt.correlation_id or ""
    known = parse_attempt_id(correlation_id)
    polls, output = progress_in(attempt.body)
    now_ms = int(attempt.station.clock.now().timestamp() * 1000)
    deadline_s = attempt.headers.deadline_s if attempt.headers is not None else None
    subcommand = step.parameters.get("subcommand")
    return Task(
        task_type=task_type,
        task_def_name=task_type,
        status="IN_PROGRESS",
        input_data={**step.dynamic, **step.parameters, RAW_KEY: attempt.body},
        reference_task_name=f"{task_type}:{subcommand}" if subcommand else task_type,
        retry_count=failures_of(attempt),
        correlation_id=correlation_id,
        poll_count=polls + 1,
        start_time=now_ms,
        update_time=now_ms,
        response_timeout_seconds=int(deadline_s or 0),
        workflow_instance_id=known[0] if known else correlation_id,
        workflow_type=step.group,
        task_id=str(properties.message_id or correlation_id),
        callback_after_seconds=0,
        worker_id=worker_id,
        output_data=output,
        domain=attempt.station.settings.domain or None,
    )


def progress_in(body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return (how often a task was begun before and went on, its output so far)."""
    found = body.get(PROGRESS_KEY)
    polls, output = (found.get("polls"), found.get("output")) if isinstance(found, dict) else (0, {})
    return (polls if isinstance(polls, int) else 0), (output if isinstance(output, dict) else {})

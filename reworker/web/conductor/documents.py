"""Tasks as Conductor's clients read them. Pure.

Of each batch, clients drop all when one task has a status they do not know, or no object as its input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.gateway.contract import Offer, PollData
from reworker.ids import parse_attempt_id

#: the statuses that clients know.
STATUSES = (
    *("IN_PROGRESS", "CANCELED", "FAILED", "FAILED_WITH_TERMINAL_ERROR", "COMPLETED"),
    *("COMPLETED_WITH_ERRORS", "SCHEDULED", "TIMED_OUT", "SKIPPED"),
)
#: name in a task's input of the message as it came.
RAW = "_re"


class TaskDocument(msgspec.Struct, rename="camel", omit_defaults=True):
    """One task; times are milliseconds since 1970."""

    task_id: str
    workflow_instance_id: str
    task_type: str
    task_def_name: str
    reference_task_name: str
    status: str
    input_data: Mapping[str, Any]
    output_data: Mapping[str, Any]
    workflow_type: str
    correlation_id: str
    worker_id: str
    poll_count: int
    retry_count: int
    response_timeout_seconds: int
    scheduled_time: int
    start_time: int
    update_time: int
    end_time: int = -1
    seq: int = 0
    callback_after_seconds: int = -1
    retried: bool | None = None
    callback_from_worker: bool | None = None
    domain: str | None = None
    retried_task_id: str | None = None
    reason_for_incompletion: str | None = None


def task_document(offer: Offer, template: Mapping[str, Any]) -> TaskDocument:
    """Return the task of an offer; `template` has values for parameters that the step does not name."""
    values = {**template, **offer.dynamic, **offer.parameters, RAW: offer.message}
    return TaskDocument(
        task_id=offer.task_id,
        workflow_instance_id=workflow_id(offer),
        task_type=offer.type.name,
        task_def_name=offer.type.name,
        reference_task_name=reference_name(offer),
        status="IN_PROGRESS",
        input_data=values,
        output_data=offer.output,
        workflow_type=offer.group,
        correlation_id=offer.attempt_id,
        worker_id=offer.worker_id,
        poll_count=offer.poll_count,
        retry_count=offer.retry_count,
        response_timeout_seconds=math.ceil(offer.response_timeout_s),
        scheduled_time=milliseconds(offer.queued_s or offer.offered_s),
        start_time=milliseconds(offer.offered_s),
        update_time=milliseconds(offer.updated_s),
        end_time=0,
        callback_after_seconds=0,
        retried=False,
        callback_from_worker=True,
        domain=offer.type.domain or None,
        retried_task_id=offer.retried_task_id or None,
    )


def workflow_id(offer: Offer) -> str:
    """Return what stands for the workflow: the deployment, else all that is known of where it comes from."""
    parsed = parse_attempt_id(offer.attempt_id)
    return parsed[0] if parsed else offer.attempt_id or offer.task_id


def reference_name(offer: Offer) -> str:
    """Return the name of a step within its playbook: ``command:subcommand``."""
    subcommand = offer.parameters.get("subcommand")
    return (
        f"{offer.type.name}:{subcommand}" if isinstance(subcommand, str) and subcommand else offer.type.name
    )


def milliseconds(time_s: float) -> int:
    """Return a time as clients read it."""
    return int(time_s * 1000)


def poll_document(one: PollData) -> dict[str, Any]:
    """Return who has polled last for a type."""
    return {
        "queueName": one.type.name,
        "domain": one.type.domain,
        "workerId": one.worker_id,
        "lastPollTime": milliseconds(one.at_s),
    }

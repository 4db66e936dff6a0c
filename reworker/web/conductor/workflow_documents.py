"""Deployments as Conductor's clients read workflows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from reworker.core.service import AttemptView, DeploymentView
from reworker.fsm.states import AttemptStatus, DeploymentStatus
from reworker.storage.contract import DeploymentRow, PlaybookRow

Document = dict[str, Any]

#: status of a deployment -> status of a workflow; all others run.
_WORKFLOW = {
    DeploymentStatus.PAUSED: "PAUSED",
    DeploymentStatus.COMPLETED: "COMPLETED",
    DeploymentStatus.FAILED: "FAILED",
    DeploymentStatus.ROLLED_BACK: "FAILED",
    DeploymentStatus.ROLLBACK_FAILED: "FAILED",
    DeploymentStatus.CANCELLED: "TERMINATED",
}
#: status of an attempt -> status of a task; what is unknown may still run.
_TASK = {
    AttemptStatus.STARTED: "IN_PROGRESS",
    AttemptStatus.UNKNOWN: "IN_PROGRESS",
    AttemptStatus.COMPLETED: "COMPLETED",
    AttemptStatus.FAILED: "FAILED",
    AttemptStatus.UNROUTABLE: "FAILED",
    AttemptStatus.CANCELLED: "CANCELED",
    AttemptStatus.TIMED_OUT: "TIMED_OUT",
    AttemptStatus.SKIPPED: "SKIPPED",
}


def status_document(view: DeploymentView, correlation_id: str) -> Document:
    """Return how a workflow stands."""
    failure = view.state.failure
    document: Document = {
        "workflowId": view.row.id,
        "correlationId": correlation_id,
        "status": _WORKFLOW.get(view.state.status, "RUNNING"),
        "output": {},
        "variables": {},
    }
    if failure is not None:
        document["reasonForIncompletion"] = f"{failure.step} on {failure.host}: {failure.reason}"
    return document


def workflow_document(
    view: DeploymentView,
    correlation_id: str,
    values: Mapping[str, Any],
    attempts: Sequence[AttemptView] | None,
) -> Document:
    """Return a workflow; None in place of its attempts leaves them out."""
    row = view.row
    document = status_document(view, correlation_id) | {
        "workflowName": row.name,
        "workflowType": row.group,
        "workflowVersion": row.playbook_version or 1,
        "createdBy": row.actor,
        "ownerApp": row.group,
        "createTime": _ms(row.created_at),
        "startTime": _ms(row.created_at),
        "updateTime": _ms(row.updated_at),
        "endTime": _ms(row.ended_at),
        "input": dict(values),
        "priority": 0,
        "externallyStarted": False,
    }
    if row.resumes:
        document["reRunFromWorkflowId"] = row.resumes
    if attempts is not None:
        document["tasks"] = [attempt_document(one, row) for one in attempts]
    return document


def definition_document(row: PlaybookRow) -> Document:
    """Return a stored playbook as a definition of a workflow; its steps are not told, only its text."""
    return {
        "name": row.name,
        "ownerApp": row.group,
        "version": row.version,
        "schemaVersion": 2,
        "description": row.text,
        "createdBy": row.actor,
        "updateTime": _ms(row.created_at),
        "tasks": [],
    }


def attempt_document(view: AttemptView, of: DeploymentRow) -> Document:
    """Return an attempt as a task: its id is that of the attempt."""
    row = view.row
    command, _, subcommand = row.step.partition(":")
    output = view.data if isinstance(view.data, dict) else {"result": view.data}
    document: Document = {
        "taskId": row.id,
        "workflowInstanceId": of.id,
        "workflowType": of.group,
        "correlationId": row.id,
        "taskType": command,
        "taskDefName": command,
        "referenceTaskName": f"{command}:{subcommand}" if subcommand else command,
        "status": _TASK.get(AttemptStatus(row.status), "SCHEDULED"),
        "seq": row.number,
        "inputData": {"hosts": [row.host] if row.host else []},
        "outputData": output,
        "workerId": row.worker,
        "retryCount": max(row.tries - 1, 0),
        "scheduledTime": _ms(row.sent_at or row.created_at),
        "startTime": _ms(row.started_at),
        "endTime": _ms(row.ended_at),
        "updateTime": _ms(row.ended_at or row.started_at or row.created_at),
    }
    if row.message:
        document["reasonForIncompletion"] = row.message
    if row.domain:
        document["domain"] = row.domain
    return document


def _ms(at: datetime | None) -> int:
    return int(at.timestamp() * 1000) if at else 0

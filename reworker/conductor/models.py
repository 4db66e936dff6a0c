"""What a Conductor worker sees and says: `Task`, `TaskResult` and their parts; plain values, no messages.

Field names are those of the public Python SDKs, in their order, so that ported code finds them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

import msgspec

#: characters of a reason that are kept. Source: the SDKs cut there too.
REASON_CHARACTERS = 500


class TaskResultStatus(StrEnum):
    """How a task stands, as its worker says."""

    COMPLETED = "COMPLETED"
    #: failed; tried again when the worker type's settings say so.
    FAILED = "FAILED"
    #: failed, and no other try would help.
    FAILED_WITH_TERMINAL_ERROR = "FAILED_WITH_TERMINAL_ERROR"
    #: not over: it is executed again after `callback_after_seconds`.
    IN_PROGRESS = "IN_PROGRESS"


class TaskExecLog(msgspec.Struct):
    """One line of a task's log; `created_time` is milliseconds since 1970, and may be left out."""

    log: Any = None
    task_id: str | None = None
    created_time: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return msgspec.structs.asdict(self)


class TaskResult(msgspec.Struct):
    """How a task ended, or that it has not; `status` has to be set before it is returned."""

    workflow_instance_id: str | None = None
    task_id: str | None = None
    reason_for_incompletion: Any = None
    callback_after_seconds: float | None = None
    worker_id: str | None = None
    status: TaskResultStatus | str | None = None
    output_data: Any = None
    logs: list[TaskExecLog] | None = None
    external_output_payload_storage_path: str | None = None
    sub_workflow_id: str | None = None
    extend_lease: bool = False

    def add_output_data(self, key: str, value: Any) -> Self:
        """Put one value into the output."""
        if self.output_data is None:
            self.output_data = {}
        self.output_data[key] = value
        return self

    def log(self, log: str) -> Self:
        """Add a line to the log of the task."""
        self.logs = [*(self.logs or []), TaskExecLog(log, self.task_id)]
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        logs = None if self.logs is None else [one.to_dict() for one in self.logs]
        return {**msgspec.structs.asdict(self), "logs": logs}


class Task(msgspec.Struct):
    """One step, as a worker in Conductor's style is given it; what a step has nothing of stays None.

    `input_data` has the step's parameters, with the deployment's dynamic values below them, and the message
    as it came under ``_re``. Times are milliseconds since 1970.
    """

    task_type: str | None = None
    status: str | None = None
    input_data: dict[str, Any] | None = None
    reference_task_name: str | None = None
    retry_count: int = 0
    seq: int | None = None
    correlation_id: str | None = None
    poll_count: int = 0
    task_def_name: str | None = None
    scheduled_time: int | None = None
    start_time: int | None = None
    end_time: int | None = None
    update_time: int | None = None
    start_delay_in_seconds: int | None = None
    retried_task_id: str | None = None
    retried: bool | None = None
    executed: bool | None = None
    callback_from_worker: bool | None = None
    response_timeout_seconds: int | None = None
    workflow_instance_id: str | None = None
    workflow_type: str | None = None
    task_id: str | None = None
    reason_for_incompletion: str | None = None
    callback_after_seconds: int | None = None
    worker_id: str | None = None
    output_data: dict[str, Any] | None = None
    workflow_task: Any = None
    domain: str | None = None
    rate_limit_per_frequency: int | None = None
    rate_limit_frequency_in_seconds: int | None = None
    external_input_payload_storage_path: str | None = None
    external_output_payload_storage_path: str | None = None
    workflow_priority: int | None = None
    execution_name_space: str | None = None
    isolation_group_id: str | None = None
    iteration: int | None = None
    sub_workflow_id: str | None = None
    subworkflow_changed: bool | None = None
    loop_over_task: bool | None = None
    task_definition: Any = None
    queue_wait_time: int | None = None
    parent_task_id: str | None = None
    first_start_time: int | None = None
    runtime_metadata: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return msgspec.structs.asdict(self)

    def to_task_result(self, status: TaskResultStatus = TaskResultStatus.COMPLETED) -> TaskResult:
        """Return a result for this task."""
        return TaskResult(
            self.workflow_instance_id, self.task_id, worker_id=self.worker_id, status=TaskResultStatus(status)
        )

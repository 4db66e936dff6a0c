"""What has become of a task, told to a queue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reworker import messages
from reworker.bus.contract import Outgoing, Properties
from reworker.core.outgoing import PERSISTENT, Cause, row_of
from reworker.core.tasks.options import CodeOptions, TaskOptions, decoded
from reworker.storage.contract import Changes, Unit
from reworker.storage.task_rows import TaskRow


def result_of(task: TaskRow) -> dict[str, Any]:
    """Return the result of a task that is over, as it is sent."""
    return {
        "id": task.id,
        "project_id": task.project_id,
        "code_name": task.code_name,
        "status": task.status,
        "msg": task.msg,
        "percent": task.percent,
        "retry_no": task.retry_no,
        "retry_task_id": task.retry_task_id,
        "created_at": task.created_at,
        "start_time": task.start_at,
        "end_time": task.end_at,
    }


def send(unit: Unit, task: TaskRow, code: CodeOptions, now: datetime) -> None:
    """Put the result into the outbox, in the transaction in which the task ends."""
    queue = decoded(TaskOptions, task.options).result_queue or code.result_queue
    if not queue:
        return
    message_id = f"{task.id}.result"
    properties = Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=message_id,
        correlation_id=task.id,
        timestamp=int(now.timestamp()),
        type="task.result",
    )
    body = messages.encode(result_of(task), kind="result")
    message = Outgoing(exchange="", routing_key=queue, body=body, properties=properties)
    unit.save(Changes(outbox_added=[row_of(Cause("", 0, now), message_id, "result", message)]))

"""What has become of a task, told to a queue, and to a web address by the webhook worker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from reworker import messages
from reworker.bus.contract import Outgoing, Properties
from reworker.clock import iso
from reworker.core.outgoing import PERSISTENT, Cause, row_of
from reworker.core.tasks.options import CodeOptions, TaskOptions, decoded
from reworker.core.tasks.outcomes import TaskStatus
from reworker.storage.contract import Changes, OutboxRow, Unit
from reworker.storage.task_rows import TaskRow
from reworker.topology import names

#: kind of these messages in the outbox, and the transport of those for web addresses.
KIND, WEBHOOK = "result", "webhook"


def result_of(task: TaskRow) -> dict[str, Any]:
    """Return the result of a task that is over, as it is sent."""
    return {
        "id": task.id,
        "project_id": task.project_id,
        "code_id": task.code_id,
        "code_name": task.code_name,
        "label": task.label,
        "schedule_id": task.schedule_id,
        "original_task_id": task.original_id,
        "status": task.status,
        "msg": task.msg,
        "percent": task.percent,
        "retry_no": task.retry_no,
        "retry_task_id": task.retry_task_id,
        "created_at": iso(task.created_at),
        "start_time": _moment(task.start_at),
        "end_time": _moment(task.end_at),
    }


def _moment(at: datetime | None) -> str | None:
    return iso(at) if at else None


def send(unit: Unit, task: TaskRow, code: CodeOptions, now: datetime) -> None:
    """Put the result into the outbox, in the transaction in which the task ends."""
    own = decoded(TaskOptions, task.options)
    queue, url = own.result_queue or code.result_queue, own.result_url or code.result_url
    rows: list[OutboxRow] = []
    if queue:
        rows.append(_row(task, "", queue, result_of(task), now))
    if url:
        rows.append(_row(task, names.EXCHANGE, names.notify_key(WEBHOOK), _notice(task, url), now))
    if rows:
        unit.save(Changes(outbox_added=rows))


def _notice(task: TaskRow, url: str) -> dict[str, Any]:
    """Return a notification that the webhook worker posts: the result itself, or its words to a chat."""
    reason = f": {task.msg}" if task.msg else ""
    return {
        "slug": f"Task of {task.code_name}",
        "message": f"{task.id} {task.status}{reason}",
        "phase": "completed" if task.status == TaskStatus.COMPLETE else "failed",
        "target": [url],
        "result": result_of(task),
    }


def _row(task: TaskRow, exchange: str, key: str, body: dict[str, Any], now: datetime) -> OutboxRow:
    message_id = f"{task.id}.{WEBHOOK if exchange else KIND}"
    properties = Properties(
        content_type="application/json",
        delivery_mode=PERSISTENT,
        message_id=message_id,
        correlation_id=task.id,
        timestamp=int(now.timestamp()),
        type="task.result",
    )
    message = Outgoing(exchange, key, messages.encode(body, kind=KIND), properties)
    return row_of(Cause("", 0, now), message_id, KIND, message)

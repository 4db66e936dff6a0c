"""From what a worker returned to how its job ends. The only place that knows both."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.conductor.context.task_context import TaskContext, TaskInProgress
from reworker.conductor.failures import TaskFailed, TaskFailedForGood
from reworker.conductor.models import REASON_CHARACTERS, TaskResult, TaskResultStatus
from reworker.task_errors import JobGoesOn

#: key of the message under which a task that goes on keeps what it was: ``{"polls": int, "output": {...}}``.
PROGRESS_KEY = "progress"
#: shortest pause of a task in progress, seconds: no worker may be kept busy by asking.
SHORTEST_S = 1.0
RESULT_KEY = "result"


def result_in(found: Any, context: TaskContext, name: str) -> TaskResult:
    """Return the result that a worker has returned, in whatever form, together with what its context says.

    Args:
        found: what `execute` returned.
        context: in which it ran.
        name: of the worker, for errors.

    Raises:
        TaskFailedForGood: nothing was returned, or no status that we know: a bug of the worker.
    """
    said = context.task_result
    if found is None:
        raise TaskFailedForGood(f"execute() of {name} returned nothing; it has to return a TaskResult")
    if isinstance(found, TaskInProgress):
        found = TaskResult(
            status=TaskResultStatus.IN_PROGRESS,
            callback_after_seconds=found.callback_after_seconds,
            output_data=found.output,
        )
    elif not isinstance(found, TaskResult):
        found = TaskResult(status=context.status_of_output(), output_data=output_of(found))
    result: TaskResult = msgspec.structs.replace(
        found,
        status=_status_of(found, name),
        callback_after_seconds=found.callback_after_seconds or said.callback_after_seconds or 0,
        output_data={**(said.output_data or {}), **output_of(found.output_data, is_none_nothing=True)},
    )
    return result


def data_in(result: TaskResult, worker_id: str, poll_count: int) -> dict[str, Any]:
    """Return the data of a task that is completed; raise what the others are.

    Raises:
        TaskFailed: ``FAILED``.
        TaskFailedForGood: ``FAILED_WITH_TERMINAL_ERROR``.
        JobGoesOn: ``IN_PROGRESS``.
    """
    output: dict[str, Any] = result.output_data
    match result.status:
        case TaskResultStatus.COMPLETED:
            return output
        case TaskResultStatus.IN_PROGRESS:
            changes = {PROGRESS_KEY: {"polls": poll_count, "output": output}}
            raise JobGoesOn(
                max(float(result.callback_after_seconds or 0), SHORTEST_S), "in progress", changes=changes
            )
    reason = reason_of(result.reason_for_incompletion) or "failed, and its worker gave no reason"
    data = {"reason": reason, "output": output, "workerId": worker_id}
    if result.status is TaskResultStatus.FAILED:
        raise TaskFailed(reason, data)
    raise TaskFailedForGood(reason, {**data, "terminal": True})


def reason_of(value: Any) -> str:
    """Return a reason as text, whatever it was; empty for none."""
    return "" if value is None else str(value)[:REASON_CHARACTERS]


def output_of(value: Any, *, is_none_nothing: bool = False) -> dict[str, Any]:
    """Return an output as JSON can carry it: what is no mapping stands under ``result``.

    Args:
        value: what a function returned, or the output of a result.
        is_none_nothing: None is no output, instead of one that is null.
    """
    if value is None and is_none_nothing:
        return {}
    plain = _plain(value)
    return plain if isinstance(plain, dict) else {RESULT_KEY: plain}


def _plain(value: Any) -> Any:
    try:
        return msgspec.to_builtins(value, str_keys=True, enc_hook=_in_other_words)
    except (TypeError, ValueError, RecursionError):  # keys that are no texts, a mapping that holds itself
        return str(value)


def _in_other_words(value: Any) -> Any:
    """Return what stands for an object that JSON does not know; its text, if nothing better does."""
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    to_dict = getattr(value, "to_dict", None) or getattr(value, "model_dump", None)
    if callable(to_dict) and not isinstance(value, type):
        return to_dict()
    return value.value if isinstance(value, enum.Enum) else str(value)


def _status_of(result: TaskResult, name: str) -> TaskResultStatus:
    if result.status is None:
        raise TaskFailedForGood(f"the TaskResult of {name} has no status; set it before it is returned")
    try:
        return TaskResultStatus(getattr(result.status, "value", result.status))
    except ValueError as error:
        known = ", ".join(TaskResultStatus)
        raise TaskFailedForGood(
            f"the TaskResult of {name} has the status {result.status!r}; known: {known}"
        ) from error

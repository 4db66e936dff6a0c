"""What workers say of tasks, read with patience: who is refused says it again for a minute. Pure."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from reworker.gateway.contract import CallLater, Completed, Failed, Result, Update
from reworker.web.errors import HttpProblem

#: seconds after which a task is offered again at the latest.
LONGEST_CALLBACK_S = 30 * 86400.0
#: lines of output that one result brings along.
LINE_COUNT = 10_000
#: statuses of a result -> what they are to us; a worker should send four of them.
_DONE = ("COMPLETED", "COMPLETED_WITH_ERRORS", "SKIPPED")
_GOES_ON = ("IN_PROGRESS", "SCHEDULED")
_FINAL = ("FAILED_WITH_TERMINAL_ERROR", "CANCELED")
_FAILED = ("FAILED", "TIMED_OUT")

#: a task's id before and after the outputs of a result, which may name other tasks: only what is no object
#: stands between it and the beginning, or the end.
_VALUE, _ID = rb'(?:"(?:[^"\\]|\\.)*"|[-+.\w]+)', rb'"taskId"\s*:\s*"([^"\\]+)"'
_FIRST_ID = re.compile(rb'\s*\{(?:\s*"\w*"\s*:\s*' + _VALUE + rb"\s*,)*?\s*" + _ID)
_LAST_ID = re.compile(_ID + rb'(?:\s*,\s*"\w*"\s*:\s*' + _VALUE + rb")*\s*\}\s*\Z")


class Heartbeat(msgspec.Struct, frozen=True):
    """A worker is at work; nothing else of what it sent counts."""

    task_id: str


def parsed_result(body: bytes, *, takes_next: bool = False) -> Update | Heartbeat:
    """Return what a worker says of a task.

    Args:
        body: JSON of a TaskResult.
        takes_next: the answer may bring another task.

    Raises:
        HttpProblem: 400 it is no JSON, no object, or names no task.
    """
    found = patient_json(body)
    task_id = found.get("taskId") if isinstance(found, dict) else None
    if not isinstance(task_id, str) or not task_id:
        raise HttpProblem(400, "not-a-result", "the body is a JSON object with a taskId, which is a text")
    # before the status: that of a heartbeat says nothing
    if found.get("extendLease") in (True, "true", "True"):
        return Heartbeat(task_id)
    worker_id = found.get("workerId")
    return Update(
        task_id,
        result_of(found),
        worker_id if isinstance(worker_id, str) else "",
        lines_of(found.get("logs")),
        takes_next,
    )


def oversized_result(beginning: bytes, end: bytes, reason: str) -> Update | None:
    """Return what a result says that is too large to be read; None when it does not say of which task.

    It ends the task for good: the work is done, so that another try would do it twice.

    Args:
        beginning: of the body.
        end: of it; empty when it is not known.
        reason: why it is not read.
    """
    found = _FIRST_ID.match(beginning) or _LAST_ID.search(end)
    if found is None:
        return None
    return Update(found[1].decode("utf-8", "replace"), Failed(f"its result is not read: {reason}", {}, True))


def result_of(found: Mapping[str, Any]) -> Result:
    """Return how a task stands."""
    said = found.get("status")
    status = said.strip().upper() if isinstance(said, str) else ""
    output = output_of(found.get("outputData"))
    if status in _DONE:
        return Completed(output)
    if status in _GOES_ON:
        return CallLater(_seconds(found.get("callbackAfterSeconds")), output)
    reason = reason_of(found.get("reasonForIncompletion"))
    if status in (*_FAILED, *_FINAL):
        words = {"CANCELED": "the worker cancelled it", "TIMED_OUT": "the worker ran out of time"}
        return Failed(reason or words.get(status, "the worker gave no reason"), output, status in _FINAL)
    wrong = "no status" if said in (None, "") else f"the worker sent the unknown status {_shown(said)}"
    return Failed(f"{wrong}: {reason}" if reason else wrong, output)


def output_of(value: Any) -> Mapping[str, Any]:
    """Return outputs; what is no object is put into one."""
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"result": value}


def reason_of(value: Any) -> str:
    """Return a reason, which may be of any type: clients send the argument of an exception."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lines_of(logs: Any) -> list[str]:
    """Return lines of output from a list of ``{"log": text}``, or of texts."""
    found: list[str] = []
    for one in logs if isinstance(logs, list) else ():
        text = one.get("log") if isinstance(one, dict) else one
        if text is not None:
            found += (text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)).splitlines()
    return found[:LINE_COUNT]


def log_lines(body: bytes) -> list[str]:
    """Return the lines of a log that is sent by itself.

    Clients call it JSON. One sends a JSON text; another one takes the quotes off it and leaves the escapes.
    """
    text = body.decode("utf-8", "replace").strip("\r\n")
    quoted = text if text.startswith('"') and text.endswith('"') and len(text) > 1 else f'"{text}"'
    with contextlib.suppress(ValueError):  # then it is what it looks like
        text = str(json.loads(quoted, strict=False))
    return text.encode("utf-8", "replace").decode("utf-8").splitlines()[:LINE_COUNT]


def patient_json(body: bytes) -> Any:
    """Return what JSON says, also such as Python's own library writes: with NaN, and with half characters.

    What is no UTF-8 becomes a mark.

    Raises:
        HttpProblem: 400 it is none.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _mended(json.loads(body.decode("utf-8", "replace")))
    except (ValueError, RecursionError) as error:
        reason = str(error) or "it is nested too deep"
        raise HttpProblem(400, "not-json", f"the body cannot be read as JSON: {reason}") from error


def _mended(value: Any) -> Any:
    """Return a value that is JSON: without numbers that are none, and halves of characters."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    return value


def _seconds(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(found, 0.0), LONGEST_CALLBACK_S) if math.isfinite(found) else 0.0


def _shown(value: Any) -> str:
    return ascii(value)[:60]

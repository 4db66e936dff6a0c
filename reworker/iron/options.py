"""What can be said of a code, a task or a schedule, and how it is written on the wire."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from reworker.iron.records import WIRE_NAMES
from reworker.task_errors import TaskRefused


class CodeOptions(TypedDict, total=False):
    """How the tasks of a code are run; what is left out stays as it is."""

    max_concurrency: int
    retries: int
    retries_delay_s: float
    default_priority: int
    config: Any
    env_vars: Mapping[str, str]
    result_queue: str
    result_url: str


class TaskOptions(TypedDict, total=False):
    """What else can be said of a task."""

    name: str
    priority: int
    delay_s: float
    timeout_s: float
    label: str
    cluster: str
    sync: bool
    result_queue: str
    result_url: str


class ScheduleOptions(TypedDict, total=False):
    """When a schedule queues tasks, and what each of them has."""

    name: str
    start_at: datetime | str
    end_at: datetime | str
    run_every_s: int
    run_times: int
    cron: str
    time_zone: str
    missed: str
    delay_s: float
    priority: int
    timeout_s: float
    task_delay_s: float
    label: str
    cluster: str
    result_queue: str
    result_url: str


def on_wire(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as the server reads them.

    Raises:
        TaskRefused: there is no such option.
    """
    known = kind.__annotations__
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise TaskRefused(f"there is no such option; {hint}", field=name)
        if value is not None:
            found[WIRE_NAMES.get(name, name)] = _value(name, value)
    return found


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):  # one without a zone is meant as people say it
        return (value if value.tzinfo else value.astimezone()).isoformat()
    return text_of(value) if name == "config" else value


def text_of(payload: Any) -> str:
    """Return a payload as its text: a string as it is, anything else as JSON, nothing as an empty object.

    Raises:
        TaskRefused: it holds what JSON cannot.
    """
    if isinstance(payload, str):
        return payload
    try:
        return json.dumps({} if payload is None else payload)
    except (TypeError, ValueError) as error:
        raise TaskRefused(f"cannot be written as JSON: {error}", field="payload") from error

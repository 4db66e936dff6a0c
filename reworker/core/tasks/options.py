"""What can be set of codes, tasks and schedules beside what is looked for; JSON in the database."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from reworker.storage.rows import AttemptRow
from reworker.task_errors import TaskRefused
from reworker.topology import names

#: seconds that a task may run, by default and at most.
TIMEOUT_S, MOST_TIMEOUT_S = 3600.0, 86_400.0
#: bytes of a payload, and of a configuration.
PAYLOAD_BYTES = CONFIG_BYTES = 64 << 10
#: tries after the first one at most, and the longest delay of a task. Source: IronWorker's limits.
MOST_RETRIES, MOST_DELAY_S = 10, 7 * 86_400.0
#: bytes of the name of a queue, and characters of a web address. Source of the first: AMQP 0-9-1.
QUEUE_BYTES, URL_CHARACTERS = 255, 2000
#: priorities; a higher one is started first.
PRIORITIES = (0, 1, 2)


class CodeOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the tasks of a code are run.

    Args:
        max_concurrency: tasks that run at once at most; 0 is without limit.
        retries: how many times a task that ends in error is tried again.
        retries_delay_s: seconds before each of these.
        default_priority: of tasks that name none.
        config: text for each task, usually JSON; empty is none.
        env_vars: variables of each task's environment.
        result_queue: where the result of each task is sent; empty is nowhere.
        result_url: where it is posted to, signed; empty is nowhere.
    """

    max_concurrency: int = 0
    retries: int = 0
    retries_delay_s: float = 0.0
    default_priority: int = 0
    config: str = ""
    env_vars: dict[str, str] = {}
    result_queue: str = ""
    result_url: str = ""


class TaskOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What else was said of a task; its own result addresses count before those of its code."""

    name: str = ""
    is_sync: bool = False
    result_queue: str = ""
    result_url: str = ""


class ScheduleOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What each task of a schedule has; None is that of its code, or the default."""

    name: str = ""
    priority: int | None = None
    timeout_s: float | None = None
    delay_s: float = 0.0
    cluster: str = ""
    is_sync: bool = False
    result_queue: str = ""
    result_url: str = ""


def require_result_places(options: CodeOptions | TaskOptions | ScheduleOptions) -> None:
    """Let options pass whose results can be sent where they say; which of it may be, workers know.

    Raises:
        TaskRefused: names the value.
    """
    if (
        len(utf8(options.result_queue, "result_queue")) > QUEUE_BYTES
        or not options.result_queue.isprintable()
    ):
        raise TaskRefused(f"takes the name of a queue, {QUEUE_BYTES} bytes at most", field="result_queue")
    if names.is_own(options.result_queue):  # else whoever may queue a task could write to workers and cores
        raise TaskRefused(
            "is a queue of reworker or of the broker; take one of your own", field="result_queue"
        )
    url = options.result_url
    if len(url) > URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        reason = "takes an http or https URL, or a name that the webhook worker knows"
        raise TaskRefused(reason, field="result_url")


T = TypeVar("T")


def decoded(kind: type[T], options: bytes) -> T:
    """Return stored options; keys of a newer version are passed over."""
    return msgspec.json.decode(options, type=kind)


def encoded(options: msgspec.Struct) -> bytes:
    """Return options as they are stored."""
    return msgspec.json.encode(options)


def data_of(attempt: AttemptRow) -> dict[str, Any]:
    """Return what the code worker's last reply holds; an empty object when it is none of ours."""
    found = msgspec.json.decode(attempt.data) if attempt.data else None
    return found if isinstance(found, dict) else {}


def utf8(value: str, field: str) -> bytes:
    """Return a text as it is stored and sent.

    Raises:
        TaskRefused: it holds half of a character, as JSON's escapes can.
    """
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise TaskRefused("is no valid text: it holds half of a character", field=field) from error

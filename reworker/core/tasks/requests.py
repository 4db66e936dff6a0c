"""What people and programs ask of codes and tasks, as data: for API, command line and pages. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from reworker.core.tasks.code_settings import CodeSettings
from reworker.core.tasks.codes import NAME_CHARACTERS
from reworker.core.tasks.options import MOST_DELAY_S, MOST_TIMEOUT_S, TaskOptions
from reworker.core.tasks.projects import DEFAULT_NAME
from reworker.core.tasks.queueing import LABEL_CHARACTERS, MOST_TASKS, TaskDraft
from reworker.task_errors import TaskRefused

#: runtimes that the code worker has; see `codes.runtimes.COMMANDS`, which the core may not know.
RUNTIMES = ("sh", "bash", "python", "node", "ruby", "php", "perl", "go", "java", "mono", "binary")

ProjectKey = Annotated[str, Meta(min_length=1, description="Id or name of a project.")]
Priority = Annotated[int, Meta(ge=0, le=2)]
Delay = Annotated[float, Meta(ge=0, le=MOST_DELAY_S)]
Timeout = Annotated[float, Meta(gt=0, le=MOST_TIMEOUT_S)]
Label = Annotated[str, Meta(max_length=LABEL_CHARACTERS)]


class NewCode(CodeSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A code to upload, or to change: without a file only its options are changed.

    Args:
        name: of the code; one that is there gets a new revision.
        project: id or name.
        runtime: such as sh, python, node or binary; docs/tasks.md has all.
        file_name: that is run, inside of the package.
        max_concurrency: tasks that run at once at most; 0 is without limit.
        retries: how many times a task that ends in error is tried again.
        retries_delay_s: seconds before each of these.
        default_priority: of tasks that name none.
        config: text for each task, 64 KiB at most, usually JSON.
        env_vars: variables of each task's environment.
        result_queue: where the result of each task is sent; empty is nowhere.
        result_url: where it is posted to, signed; empty is nowhere.
    """

    name: Annotated[str, Meta(min_length=1, max_length=NAME_CHARACTERS, examples=["mail"])]
    project: str = DEFAULT_NAME
    runtime: Annotated[str, Meta(examples=["python"])] = ""
    file_name: Annotated[str, Meta(examples=["main.py"])] = ""


def require_runnable(asked: NewCode) -> None:
    """Let an upload pass that says what is run.

    Raises:
        TaskRefused: it does not.
    """
    if asked.runtime not in RUNTIMES:
        raise TaskRefused(f"{', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}", field="runtime")
    if not asked.file_name:
        raise TaskRefused("name the file in the package that is run", field="file_name")


class NewTask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task to queue.

    Args:
        code: name of the code that it runs.
        payload: text for its process, 64 KiB at most; usually JSON.
        priority: a higher one is started first; null is that of the code.
        delay_s: seconds before which it is not started.
        timeout_s: seconds that it may run; null is an hour.
        label: to find it by.
        cluster: to find it by.
        name: in words.
        result_queue: where its result is sent; empty is that of the code.
        result_url: where it is posted to, signed; empty is that of the code.
    """

    code: Annotated[str, Meta(min_length=1, examples=["mail"])]
    payload: Annotated[str, Meta(examples=['{"to": "alice@example.com"}'])] = ""
    priority: Priority | None = None
    delay_s: Delay = 0.0
    timeout_s: Timeout | None = None
    label: Label = ""
    cluster: Label = ""
    name: Label = ""
    result_queue: str = ""
    result_url: str = ""


class NewTasks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to queue, all or none.

    Args:
        tasks: of codes of one project.
        project: id or name.
    """

    tasks: Annotated[list[NewTask], Meta(min_length=1, max_length=MOST_TASKS)]
    project: ProjectKey = DEFAULT_NAME


def draft_of_task(asked: NewTask) -> TaskDraft:
    """Return a task as the core takes it."""
    return TaskDraft(
        code_name=asked.code,
        payload=asked.payload,
        priority=asked.priority,
        delay_s=asked.delay_s,
        timeout_s=asked.timeout_s,
        label=asked.label,
        cluster=asked.cluster,
        options=TaskOptions(name=asked.name, result_queue=asked.result_queue, result_url=asked.result_url),
    )

"""The deployment of a task: a plan of one step for the code worker. Pure."""

from __future__ import annotations

from typing import Any

from reworker.core.tasks.codes import decoded_options
from reworker.core.tasks.options import TaskOptions, decoded
from reworker.fsm.plan import Plan
from reworker.fsm.playbook import OnUnknown, Sequence, Step
from reworker.storage.task_rows import CodeRow, ProjectRow, RevisionRow, TaskRow

#: seconds that the core waits longer than the worker, which ends the process in time and says so.
GRACE_S = 30.0
#: seconds that a started task may wait for a worker with room: as good as for ever.
QUEUE_TIMEOUT_S = 30 * 86_400.0


def command_of(code_id: str) -> str:
    """Return the command of a code's steps, and so the end of its queue's name."""
    return f"code.{code_id}"


def task_plan(
    project: ProjectRow, code: CodeRow, revision: RevisionRow, task: TaskRow, payload: str, token: str
) -> Plan:
    """Return the plan of a task.

    Args:
        project: its group.
        code: with what its tasks have in common now.
        revision: that is run.
        task: itself.
        payload: of the task.
        token: lets its process ask us; empty is none.
    """
    options = decoded_options(code)
    parameters: dict[str, Any] = {
        "task_id": task.id,
        "project_id": project.id,
        "code_id": code.id,
        "code_name": code.name,
        "revision_id": revision.id,
        "rev": revision.rev,
        "digest": revision.digest,
        "size_bytes": revision.size_bytes,
        "runtime": revision.runtime,
        "file_name": revision.file_name,
        "payload": payload,
        "config": options.config,
        "env_vars": options.env_vars,
        "timeout_s": task.timeout_s,
        "schedule_id": task.schedule_id,
        "token": token,
        "splits_output": decoded(TaskOptions, task.options).is_sync,
    }
    step = Step(
        key=f"code:{code.name}",
        command=command_of(code.id),
        subcommand=code.name,
        parameters=parameters,
        timeout_s=task.timeout_s + GRACE_S,
        queue_timeout_s=QUEUE_TIMEOUT_S,
        on_unknown=OnUnknown.FAIL,
        priority=task.priority,
    )
    return Plan(
        group=project.name,
        name=f"code:{code.name}",
        sequences=(Sequence(hosts=("",), steps=(step,)),),
        is_unattended=True,
    )

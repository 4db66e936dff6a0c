"""A world with tasks: its core looks at them in each round, and workers of codes answer as told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reworker.bus.contract import Delivery
from reworker.core.tasks.codes import CodeDraft
from reworker.core.tasks.options import CodeOptions
from reworker.core.tasks.queueing import TaskDraft
from reworker.storage.task_rows import CodeRow, ProjectRow, TaskFilter, TaskRow
from reworker.topology.code_queues import code_topology
from tests.component.core.kit import Worker, World

#: what the worker of codes says when a process has ended well.
COMPLETE = ({"status": "started"}, {"status": "completed", "data": {"exit_code": 0}})


def failed(exit_code: int = 3, status: str = "error") -> tuple[dict[str, Any], ...]:
    """Return what the worker of codes says when a process has not ended well."""
    data = {"status": status, "exit_code": exit_code}
    return (
        {"status": "started"},
        {"status": "failed", "message": f"exit code {exit_code}", "data": data},
    )


class CodeWorker(Worker):
    """Answers for the queue of one code; `running` are the attempts that it has said nothing final of."""

    def __init__(self, world: World, code: CodeRow) -> None:
        super().__init__(world.broker, f"code.{code.id}")
        self.script = COMPLETE

    def _declare(self, queue: str, key: str) -> None:
        self.bus.declare(code_topology(queue.rpartition(".")[2]))

    @property
    def task_ids(self) -> list[str]:
        """Return the tasks that it was given, in that order."""
        return [self.parameters(step)["task_id"] for step in self.steps]

    @staticmethod
    def parameters(step: Delivery) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(step.body)["parameters"]
        return found

    def answer(self, task_id: str, *script: dict[str, Any]) -> None:
        """Say this of a task."""
        for reply in script or COMPLETE:
            self.reply(reply, f"{task_id}.1")


class TaskWorld(World):
    """A world with a project; `code` makes codes in it."""

    def _turn(self) -> bool:
        moved = super()._turn()
        return (self.is_running and self.core.task_desk.turn()) or moved

    @property
    def project(self) -> ProjectRow:
        return self.core.service.projects.find("default")

    def code(self, name: str = "Fib", **options: Any) -> CodeRow:
        draft = CodeDraft(name, "sh", "fib.sh", CodeOptions(**options))
        return self.core.service.codes.upload(self.project, draft, [b"PK"])

    def queue(self, count: int = 1, **fields: Any) -> list[str]:  # type: ignore[override]  # of tasks, here
        """Queue tasks; return their ids."""
        drafts = [TaskDraft(**{"code_name": "Fib", **fields}) for _ in range(count)]
        return [row.id for row in self.core.service.tasks.queue(self.project, drafts)]

    def task(self, task_id: str) -> TaskRow:
        return self.core.service.tasks.task(task_id)

    def statuses(self, ids: Sequence[str]) -> list[str]:
        return [str(self.task(one).status) for one in ids]

    def rows(self, **wanted: Any) -> list[TaskRow]:
        """Return stored tasks as they stand in their table, oldest first."""
        return self.storage.reader.tasks(TaskFilter(**wanted), limit=1000)[::-1]

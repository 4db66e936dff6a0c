"""Path of conductor-python: the base of objects that listen to events about tasks."""

from typing import Any


class TaskRunnerEventsListener:
    """Is told of tasks; override what is of interest. Any object with some of these methods will do."""

    def on_task_execution_started(self, event: Any) -> None:
        """Hear that a task was begun."""

    def on_task_execution_completed(self, event: Any) -> None:
        """Hear that a task was executed."""

    def on_task_execution_failure(self, event: Any) -> None:
        """Hear that a task has failed."""


__all__ = ["TaskRunnerEventsListener"]

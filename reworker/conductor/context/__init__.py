"""Path of conductor-python: what code that runs for a task may ask."""

from reworker.conductor.context.task_context import TaskContext, TaskInProgress, get_task_context

__all__ = ["TaskContext", "TaskInProgress", "get_task_context"]

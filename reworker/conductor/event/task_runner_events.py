"""Path of conductor-python: events about tasks.

Those about polls and updates over HTTP never come, as there are none; programs import their names.
"""

from reworker.conductor.events import (
    TaskEvent,
    TaskExecutionCompleted,
    TaskExecutionFailure,
    TaskExecutionStarted,
)

TaskRunnerEvent = TaskEvent


class PollStarted(TaskEvent):
    """Never comes: nobody polls."""


class PollCompleted(TaskEvent):
    """Never comes: nobody polls."""


class PollFailure(TaskEvent):
    """Never comes: nobody polls."""


class TaskUpdateFailure(TaskEvent):
    """Never comes: a result waits until the broker has it."""


__all__ = [
    "PollCompleted",
    "PollFailure",
    "PollStarted",
    "TaskExecutionCompleted",
    "TaskExecutionFailure",
    "TaskExecutionStarted",
    "TaskRunnerEvent",
    "TaskUpdateFailure",
]

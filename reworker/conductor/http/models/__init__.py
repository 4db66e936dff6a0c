"""Path of the SDKs: what workers see and say."""

from reworker.conductor.models import Task, TaskExecLog, TaskResult, TaskResultStatus

__all__ = ["Task", "TaskExecLog", "TaskResult", "TaskResultStatus"]

"""Path of the SDKs: a line of its log."""

from reworker.conductor.models import TaskExecLog

__all__ = ["TaskExecLog"]

"""Path of the SDKs: its result."""

from reworker.conductor.models import TaskResult

__all__ = ["TaskResult"]

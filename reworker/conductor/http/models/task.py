"""Path of the SDKs: the task."""

from reworker.conductor.models import Task

__all__ = ["Task"]

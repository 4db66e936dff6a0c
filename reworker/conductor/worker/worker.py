"""Path of the SDKs: functions as workers."""

from reworker.conductor.functions import Worker, WorkerImpl

__all__ = ["Worker", "WorkerImpl"]

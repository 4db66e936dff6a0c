"""Path of swift-conductor-client 1.2.0: functions as workers."""

from reworker.conductor.functions import WorkerImpl

__all__ = ["WorkerImpl"]

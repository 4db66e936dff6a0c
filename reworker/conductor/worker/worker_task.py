"""Path of the SDKs: the decorator."""

from reworker.conductor.functions import WorkerTask, worker_task

__all__ = ["WorkerTask", "worker_task"]

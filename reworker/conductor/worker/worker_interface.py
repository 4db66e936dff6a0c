"""Path of the SDKs: the base of workers."""

from reworker.conductor.workers import DEFAULT_POLLING_INTERVAL, WorkerAbc, WorkerInterface

__all__ = ["DEFAULT_POLLING_INTERVAL", "WorkerAbc", "WorkerInterface"]

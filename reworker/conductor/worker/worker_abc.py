"""Path of swift-conductor-client 1.2.0: the base of workers."""

from reworker.conductor.workers import DEFAULT_POLLING_INTERVAL, WorkerAbc

__all__ = ["DEFAULT_POLLING_INTERVAL", "WorkerAbc"]

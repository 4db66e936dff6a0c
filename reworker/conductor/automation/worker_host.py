"""Path of swift-conductor-client: what runs workers."""

from reworker.conductor.hosts import WorkerHost

__all__ = ["WorkerHost"]

"""Path of conductor-python: what runs workers."""

from reworker.conductor.hosts import TaskHandler

__all__ = ["TaskHandler"]

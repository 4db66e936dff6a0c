"""Path of conductor-python: where to connect."""

from reworker.conductor.addresses import Configuration

__all__ = ["Configuration"]

"""Path of conductor-python: where metrics are told."""

from reworker.conductor.addresses import MetricsSettings

__all__ = ["MetricsSettings"]

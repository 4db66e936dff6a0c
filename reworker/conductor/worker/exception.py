"""Path of the SDKs: what workers raise."""

from reworker.conductor.failures import NonRetryableException

__all__ = ["NonRetryableException"]

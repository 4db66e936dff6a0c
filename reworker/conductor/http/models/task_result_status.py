"""Path of the SDKs: how it stands."""

from reworker.conductor.models import TaskResultStatus

__all__ = ["TaskResultStatus"]

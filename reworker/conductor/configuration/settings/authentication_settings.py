"""Path of conductor-python: not used here."""

from reworker.conductor.addresses import AuthenticationSettings

__all__ = ["AuthenticationSettings"]

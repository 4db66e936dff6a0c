"""The world of the core's unit tests, for what is shown of it."""

from tests.unit.core.conftest import shared_statements, world

__all__ = ["shared_statements", "world"]

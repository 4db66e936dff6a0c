"""The world of the core's tests, for what is shown of it."""

from tests.component.core.conftest import shared_statements, world

__all__ = ["shared_statements", "world"]

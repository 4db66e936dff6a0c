"""For authors of plugins: run a worker on one message in memory; a fake clock; a scripted worker.

The pytest plugin, with the fixture `bus`, is `reworker.testing.pytest_plugin`. pytest imports this package
at its start, in every project of the installation, so the names load when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reworker.testing.clock import FakeClock
    from reworker.testing.harness import Harness, Transcript, deliver

__all__ = ["FakeClock", "Harness", "Transcript", "deliver"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "clock" if name == "FakeClock" else "harness"
    return getattr(import_module(f"{__name__}.{module}"), name)

"""For authors of plugins: run a worker on one message in memory; a fake clock; a scripted worker.

The pytest plugin, with the fixture `bus`, is `reworker.testing.pytest_plugin`.
"""

from reworker.testing.clock import FakeClock
from reworker.testing.harness import Harness, Transcript, deliver

__all__ = ["FakeClock", "Harness", "Transcript", "deliver"]

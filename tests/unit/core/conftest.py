from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.core.kit import Worker, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with a core that runs."""
    made = World(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def worker(world: World) -> Worker:
    """A worker for `noop` that completes everything."""
    return Worker(world.broker)

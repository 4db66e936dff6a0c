from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.core.kit import Worker, World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with a core that runs."""
    with running(World(tmp_path)) as made:
        yield made


@pytest.fixture
def worker(world: World) -> Worker:
    """A worker for `noop` that completes everything."""
    return Worker(world.broker)

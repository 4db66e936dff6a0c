from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.core.kit import running
from tests.unit.core.tasks.kit import TaskWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[TaskWorld]:
    """A world with a core that runs and looks at tasks."""
    made = TaskWorld(tmp_path)
    with running(made):
        yield made

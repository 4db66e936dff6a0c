from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.component.core.kept import Kept, borrowed
from tests.component.core.tasks.kit import TaskWorld


@pytest.fixture
def world(kept: Kept) -> Iterator[TaskWorld]:
    """A world with a core that runs and looks at tasks."""
    yield from borrowed(kept, TaskWorld)

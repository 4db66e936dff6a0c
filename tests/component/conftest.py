"""Tests of a whole core, or what is shown of it, on a real database and nothing else that is real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.core.kept import Kept
from tests.unit.conftest import folder_numbers, memory_folder, no_trust_store, tmp_path

__all__ = ["folder_numbers", "memory_folder", "no_trust_store", "tmp_path"]


@pytest.fixture(scope="session")
def kept(memory_folder: Path) -> Iterator[Kept]:
    """Open databases for worlds of a core."""
    made = Kept(memory_folder)
    yield made
    made.close()

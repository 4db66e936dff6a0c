"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.worker.memory_crew import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.core.close()

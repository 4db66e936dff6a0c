"""Fixtures of the fault tests: moments from a seed that is printed, and a whole system of processes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.system import BrokerProcess, System


@pytest.fixture
def moments() -> random.Random:
    """Give the generator that chooses the moments; its seed is in the report of a failure."""
    seed = int(os.environ.get("REWORKER_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"to choose the same moments again: REWORKER_FAULT_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="session")
def moment_count() -> int:
    """Tell at how many moments each fault strikes."""
    return int(os.environ.get("REWORKER_FAULT_MOMENTS", "20"))


@pytest.fixture
def new_system(process: Callable[..., Process], tmp_path: Path) -> Iterator[Callable[[str], System]]:
    """Give a function that makes a system on a broker's URL; nothing of it runs yet."""
    made: list[System] = []

    def new(url: str) -> System:
        folder = tmp_path / f"system-{len(made)}"
        folder.mkdir()
        made.append(System(process, url, folder))
        return made[-1]

    yield new
    for one in made:
        one.close()


@pytest.fixture
def system(new_system: Callable[[str], System], any_broker_url: str) -> System:
    """Give a system on each kind of broker in turn."""
    return new_system(any_broker_url)


@pytest.fixture
def broker_process(process: Callable[..., Process], tmp_path: Path) -> BrokerProcess:
    """Give an embedded broker that can be killed."""
    return BrokerProcess(process, tmp_path)

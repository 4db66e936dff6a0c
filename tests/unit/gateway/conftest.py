"""The world of a gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.gateway.kit import World


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Make worlds with settings of the gateway."""
    made: list[World] = []

    def make(**settings: Any) -> World:
        made.append(World(**settings))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Give a gateway that is polled for `frob`."""
    return make_world()

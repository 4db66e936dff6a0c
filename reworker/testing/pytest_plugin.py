"""Fixtures for plugin authors: `bus`, an embedded broker on a free port. Loaded by pytest on its own.

Imports of ours are inside of the fixtures: a test-suite that does not use them does not pay for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reworker.broker.server import BrokerThread


@pytest.fixture
def bus() -> Iterator[BrokerThread]:
    """Run an embedded broker of the test's own; ``bus.url()`` is what a worker takes as its MQ settings."""
    from reworker.broker.server import BrokerThread

    with BrokerThread() as broker:
        yield broker

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Dialect, Engine, event

from tests.component.core.kept import Kept, borrowed
from tests.component.core.kit import Worker, World
from tests.component.core.people import People

_compiled: dict[object, object] = {}
_dialects: dict[str, Dialect] = {}


def _share(connection: Connection) -> None:
    connection.dialect = _dialects.setdefault("first", connection.dialect)
    connection.execution_options(compiled_cache=_compiled)


@pytest.fixture(scope="module", autouse=True)
def shared_statements() -> Iterator[None]:
    """Compile each SQL statement once for all worlds, not once per engine: that took a third of the time.

    SQLAlchemy keeps compiled statements by dialect, so all connections show the same one.
    """
    event.listen(Engine, "engine_connect", _share)
    yield
    event.remove(Engine, "engine_connect", _share)


@pytest.fixture
def world(kept: Kept) -> Iterator[World]:
    """A world with a core that runs."""
    yield from borrowed(kept, World)


@pytest.fixture
def worker(world: World) -> Worker:
    """A worker for `noop` that completes everything."""
    return Worker(world.broker)


@pytest.fixture
def people(world: World) -> People:
    """People with tokens who ask the core that runs."""
    return People(world)

"""Test beds for the contract suites."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from reworker.bus.contract import Bus
from reworker.storage.contract import Storage
from reworker.storage.postgres import PostgresStorage
from reworker.storage.sql import SqlStorage, path_of
from tests.support.beds import PATIENCE_S, TOPOLOGY, Bed, MemoryBed, NetworkBed

_RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)


def _bed(kind: str, request: pytest.FixtureRequest) -> Bed:
    if kind == "memory":
        return MemoryBed()
    if kind == "embedded":
        broker = request.getfixturevalue("broker")
        return NetworkBed(request.getfixturevalue("broker_url"), broker.block, broker.unblock)
    url, node = request.getfixturevalue("rabbitmq_url"), request.getfixturevalue("rabbitmq")
    alarm = "{{resource_limit, memory, node()}, []}"
    return NetworkBed(
        url,
        # `rabbit_alarm:set_alarm` does not wait until the connections know
        lambda: node.evaluate(f"gen_event:sync_notify(rabbit_alarm, {{set_alarm, {alarm}}})"),
        lambda: node.evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()})"),
    )


@pytest.fixture(params=["memory", "embedded", _RABBITMQ])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Give a test bed of each kind."""
    made = _bed(request.param, request)
    yield made
    made.close()


@pytest.fixture(params=["embedded", _RABBITMQ])
def network_bed(request: pytest.FixtureRequest) -> Iterator[NetworkBed]:
    """Give a test bed with real sockets."""
    made = _bed(request.param, request)
    assert isinstance(made, NetworkBed)
    yield made
    made.close()


@pytest.fixture
def bus(bed: Bed) -> Bus:
    """Give an open bus with the topology declared."""
    made = bed.new_bus()
    made.open(timeout_s=PATIENCE_S)
    made.declare(TOPOLOGY)
    return made


#: seconds that one writer waits for another.
WRITER_WAIT_S = 0.2


@pytest.fixture
def open_storage(any_database_url: str) -> Iterator[Callable[..., Storage]]:
    """Open the same database as often as asked, on each engine."""
    opened: list[Storage] = []

    def open_one(wait_s: float = WRITER_WAIT_S) -> Storage:
        made: Storage
        if any_database_url.startswith("sqlite"):
            made = SqlStorage(path_of(any_database_url), busy_timeout_s=wait_s)
        else:
            made = PostgresStorage(any_database_url, lock_wait_s=wait_s)
        opened.append(made)
        return made

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture
def storage(open_storage: Callable[[], Storage]) -> Storage:
    """Give an open, empty database of each engine."""
    return open_storage()

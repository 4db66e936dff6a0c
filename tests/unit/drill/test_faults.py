"""Fuses: what they are asked for, and what passes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from reworker.bus.contract import Outgoing, Properties, Published, QueueSpec, TopologySpec, Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.drill.faults import (
    DEEDS,
    VARIABLE,
    Fuse,
    faulty_bus,
    faulty_ledger,
    faulty_storage,
    faulty_worker,
    fuse_of,
    points_of,
)
from reworker.errors import ConfigError
from reworker.ledger import Finished, MemoryLedger


class Notes(Fuse):
    """A fuse that only remembers what passes it."""

    def __init__(self) -> None:
        super().__init__("", 0)
        self.points: list[str] = []

    def reach(self, point: str) -> None:
        self.points.append(point)


@pytest.mark.parametrize("text", ["core.before-commit:1", "worker.after-ack:30:stop", "core.any:0:count"])
def test_fuse_is_given_to_its_role_only_when_the_variable_names_it(text: str) -> None:
    role = text.partition(".")[0]
    other = "core" if role == "worker" else "worker"
    assert fuse_of(role, {VARIABLE: text}) is not None
    assert fuse_of(other, {VARIABLE: text}) is None


def test_fuse_is_absent_when_the_variable_is() -> None:
    assert fuse_of("core", {}) is None
    assert fuse_of("core", {VARIABLE: ""}) is None


@pytest.mark.parametrize(
    "text",
    [
        "core",
        "core.before-commit",
        "core.before-commit:x",
        "core.before-commit:-1",
        "core.before-commit:1:explode",
        "core.before-commit:1:",
        "core.before-ledger:1",
        "worker.before-commit:1",
        "broker.before-commit:1",
        "core.any:1",
    ],
)
def test_variable_is_refused_when_it_names_no_point(text: str) -> None:
    with pytest.raises(ConfigError, match="before-commit"):
        fuse_of("core", {VARIABLE: text})


def test_same_objects_are_given_back_when_there_is_no_fuse() -> None:
    for wrap in (faulty_bus, faulty_storage, faulty_ledger, faulty_worker):
        thing: Any = object()
        assert wrap(thing, None) is thing


def test_bus_passes_every_point_when_a_message_goes_round() -> None:
    broker, fuse = MemoryBroker(), Notes()
    results: list[Published] = []
    inner = MemoryBus(broker, is_threaded=False, name="test")
    bus = faulty_bus(inner, fuse)
    bus.open(timeout_s=1)
    bus.declare(TopologySpec(queues=(QueueSpec("q"),)))
    taken = []

    def on_delivery(delivery: Any) -> None:
        taken.append((delivery.body, delivery.queue, delivery.redelivered))
        delivery.settle(Verdict.ACK)

    bus.consume("q", on_delivery, prefetch=1)
    bus.publish(Outgoing("", "q", b"1", Properties()), results.append)
    while broker.pump():
        pass
    assert taken == [(b"1", "q", False)]
    assert [type(one) for one in results] == [Published]
    expected = {
        f"{moment}-{deed}" for deed in ("publish", "confirm", "ack") for moment in ("before", "after")
    }
    assert set(fuse.points) == expected
    assert len(fuse.points) == len(expected)
    assert broker.message_count("q") == 0


def test_storage_passes_its_points_around_the_commit_only_when_it_comes_to_that() -> None:
    fuse, happened = Notes(), []

    class Storage:
        @contextmanager
        def begin(self) -> Iterator[str]:
            yield "unit"
            happened.append(("commit", list(fuse.points)))

    storage: Any = faulty_storage(Storage(), fuse)  # type: ignore[arg-type]  # begin is all that matters here
    with storage.begin() as unit:
        assert (unit, fuse.points) == ("unit", [])
    assert happened == [("commit", ["before-commit"])]
    assert fuse.points == ["before-commit", "after-commit"]
    with pytest.raises(ValueError, match="rolled back"), storage.begin():
        raise ValueError("rolled back")
    assert len(fuse.points) == 2


def test_ledger_passes_its_points_when_a_reply_is_remembered() -> None:
    fuse = Notes()
    ledger = faulty_ledger(MemoryLedger(), fuse)
    ledger.record("a", Finished("completed", b"{}"))
    assert fuse.points == ["before-ledger", "after-ledger"]
    assert ledger.find("a") == Finished("completed", b"{}")


def test_worker_passes_its_points_when_it_performs() -> None:
    fuse = Notes()

    class Mine:
        def _perform_attempt(self, attempt: str, output: str) -> None:
            with self.around("begin"):
                fuse.points.append(attempt + output)

        def around(self, deed: str) -> Any:
            raise AssertionError(deed)

    made = faulty_worker(Mine, fuse)
    assert made.__name__ == "Mine", "its name is on the wire"
    made()._perform_attempt("a", "b")
    assert fuse.points == ["before-perform", "before-begin", "ab", "after-begin", "after-perform"]


def test_points_are_named_before_and_after_each_deed() -> None:
    for role, deeds in DEEDS.items():
        assert len(points_of(role)) == 2 * len(deeds) == len(set(points_of(role)))

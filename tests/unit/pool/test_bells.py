"""When a pool of many queues asks its worker, and when it sweeps."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from reworker.bus.contract import BindingSpec, Properties, Verdict
from reworker.bus.memory import MemoryBroker, MemoryBus
from reworker.bus.rota import Rota
from reworker.jobs.station import Station
from reworker.pool.bells import ASK_S, SWEEP_S, SWEPT_PER_S, Bells
from reworker.testing import FakeClock
from reworker.testing.harness import FakeDelivery
from reworker.worker import Worker


class CodeWorker(Worker):
    queues_key = "worker.code.#"


@dataclass
class Desk:
    """Bells with a clock of their own, and a worker that says what the test says."""

    names: list[str] = field(default_factory=list)
    error: Exception | None = None
    asked_count: int = 0
    swept_count: int = 0
    properties: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = CodeWorker({}, **self.properties)._settings
        self.clock = FakeClock()
        bus = MemoryBus(MemoryBroker(), is_threaded=False)
        station = Station(
            bus, "code", "w", logging.getLogger("code"), settings, clock=self.clock, rand=lambda: 0.0
        )
        desk = self

        class CountingRota(Rota):
            def sweep(self) -> int:
                desk.swept_count += 1
                return super().sweep()

        self.rota = CountingRota("worker.code.#")
        self.bells = Bells(station, self.rota, self.ask)

    def ask(self) -> Iterable[str]:
        self.asked_count += 1
        if self.error is not None:
            raise self.error
        return self.names

    def pass_s(self, seconds: float) -> None:
        """Let time pass, with every turn that is due."""
        end_s = self.clock.mono_s() + seconds
        while (pause_s := self.bells.turn()) + self.clock.mono_s() <= end_s:
            self.clock.advance(pause_s)
        self.clock.advance(end_s - self.clock.mono_s())


def test_worker_is_asked_at_once_and_then_now_and_then() -> None:
    desk = Desk(["worker.code.a"])
    desk.bells.turn()
    assert (desk.asked_count, desk.rota.known) == (1, ["worker.code.a"])
    desk.names = ["worker.code.a", "worker.code.b"]
    desk.pass_s(ASK_S - 1)
    assert desk.asked_count == 1
    desk.pass_s(2)
    assert (desk.asked_count, desk.rota.known) == (2, ["worker.code.a", "worker.code.b"])


def test_known_queues_are_swept_every_few_seconds() -> None:
    desk = Desk(["worker.code.a"])
    desk.pass_s(10 * SWEEP_S - 1)
    assert desk.swept_count == 10


def test_sweeps_are_rarer_when_there_are_many_queues() -> None:
    desk = Desk([f"worker.code.{number}" for number in range(int(10 * SWEEP_S * SWEPT_PER_S))])
    desk.pass_s(10 * SWEEP_S - 1)
    assert desk.swept_count == 1


def test_pace_of_sweeps_is_the_polling_interval_when_there_is_one() -> None:
    desk = Desk(["worker.code.a"], properties={"polling_interval": 500})
    desk.pass_s(4.9)
    assert desk.swept_count == 10


def test_worker_is_asked_again_soon_and_queues_are_kept_when_it_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desk = Desk(["worker.code.a"])
    desk.bells.turn()
    desk.error = OSError("no route to the server")
    desk.pass_s(ASK_S + 20)
    assert desk.asked_count > 5
    assert desk.rota.known == ["worker.code.a"]
    assert caplog.text.count("no route to the server") == 1
    desk.error, desk.names = None, ["worker.code.b"]
    desk.pass_s(ASK_S)
    assert "worker.code.b" in desk.rota.known


def test_bell_marks_the_queue_of_its_routing_key() -> None:
    desk = Desk()
    delivery = FakeDelivery(
        body=b"",
        properties=Properties(),
        routing_key="worker.code.x",
        redelivered=False,
        delivery_tag=1,
        queue="q",
    )
    desk.bells.on_delivery(delivery)
    assert delivery.verdict is Verdict.ACK
    assert desk.rota.known == ["worker.code.x"]


def test_queue_of_bells_goes_with_its_connection_and_holds_few() -> None:
    bells = Desk(properties={"exchange": "other"}).bells
    topology = bells.topology()
    (queue,) = topology.queues
    assert queue.exclusive
    assert queue.auto_delete
    assert not queue.durable
    assert queue.arguments["x-max-length"] > 0
    assert queue.name.startswith("re.control.codeworker.")
    assert topology.bindings == (BindingSpec("other", queue.name, "worker.code.#"),)

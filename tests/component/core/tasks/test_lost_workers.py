"""A task whose worker was lost to us is over; when that worker is heard of again, it is told so."""

from __future__ import annotations

import json
from datetime import timedelta

from reworker.bus.contract import BindingSpec, Delivery, QueueSpec, TopologySpec, Verdict
from reworker.core.tasks.desk import LOST_S
from reworker.storage.contract import InstanceRow
from reworker.topology import names
from tests.component.core.tasks.kit import COMPLETE, CodeWorker, TaskWorld

LOST = ({"status": "started"}, {"status": "unknown", "reason": "its worker was lost"})


def controls(world: TaskWorld, worker: CodeWorker) -> list[Delivery]:
    """Return the list that gets all that workers are told from now on."""
    found: list[Delivery] = []

    def keep(delivery: Delivery) -> None:
        found.append(delivery)
        delivery.settle(Verdict.ACK)

    binding = BindingSpec(names.CONTROL_EXCHANGE, "test.control", "cancel.#")
    worker.bus.declare(TopologySpec(queues=(QueueSpec("test.control"),), bindings=(binding,)))
    worker.bus.consume("test.control", keep, prefetch=10)
    return found


def test_worker_that_is_still_at_a_lost_task_is_told_to_end_it_each_time(world: TaskWorld) -> None:
    code = world.code()
    worker = CodeWorker(world, code)
    worker.script = LOST
    (own,) = world.queue()
    world.run()
    assert world.statuses([own]) == ["killed"]
    told = controls(world, worker)
    for _ in range(2):
        worker.answer(own, {"status": "running"}, {"status": "running"})
        world.run()
        world.clock.advance(2)
    assert [one.routing_key for one in told] == [f"cancel.code.{code.id}"] * 2
    assert json.loads(told[0].body)["attempt"] == f"{own}.1"
    assert world.statuses([own]) == ["killed"]
    assert world.storage.reader.outbox_count() == 0


def test_worker_that_begins_a_task_that_is_over_is_told_to_end_it(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = LOST[1:]
    (own,) = world.queue()
    world.run()
    told = controls(world, worker)
    worker.answer(own, {"status": "started"})
    world.run()
    assert len(told) == 1


def test_worker_of_a_task_that_goes_on_is_told_nothing(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = LOST[:1]
    (own,) = world.queue()
    told = controls(world, worker)
    world.run()
    worker.answer(own, {"status": "running"})
    worker.answer(own)
    world.run()
    assert (world.statuses([own]), told) == (["complete"], [])


def test_lost_task_keeps_its_place_until_its_worker_must_have_ended_it(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code(max_concurrency=1))
    worker.script = LOST
    first, second = world.queue(2)
    world.run()
    assert world.statuses([first, second]) == ["killed", "queued"]
    worker.script = COMPLETE
    world.advance(LOST_S - 1)
    assert worker.task_ids == [first]
    world.advance(1)
    assert worker.task_ids == [first, second]
    assert world.statuses([first, second]) == ["killed", "complete"]


def test_lost_task_of_a_code_without_a_limit_holds_up_nothing(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = LOST
    (own,) = world.queue()
    world.run()
    (row,) = world.rows()
    assert (row.id, row.status, row.phase) == (own, "killed", "over")


UNBEGUN = {"status": "unknown", "reason": "its worker was lost", "unless_started": True}


class SecondHand(CodeWorker):
    """Gets the first message from a broker that says that it was delivered before."""

    def _on_delivery(self, delivery: Delivery) -> None:
        self.script = COMPLETE if self.steps else (UNBEGUN,)
        super()._on_delivery(delivery)


def test_task_that_waited_in_a_broker_that_was_lost_runs(world: TaskWorld) -> None:
    worker = SecondHand(world, world.code(max_concurrency=1))
    (own,) = world.queue()
    world.run()
    assert world.statuses([own]) == ["complete"]
    attempts = [(one.number, one.status) for one in world.storage.reader.attempts(own)]
    assert attempts == [(1, "unknown"), (2, "completed")]
    assert [worker.parameters(one)["task_id"] for one in worker.steps] == [own, own]


def test_task_whose_start_has_come_is_lost_though_the_next_worker_did_not_know(world: TaskWorld) -> None:
    worker = CodeWorker(world, world.code())
    worker.script = (LOST[0], UNBEGUN)
    (own,) = world.queue()
    world.run()
    assert world.statuses([own]) == ["killed"]
    assert len(world.storage.reader.attempts(own)) == 1


def test_task_is_lost_when_another_core_may_have_heard_of_its_start(world: TaskWorld) -> None:
    now = world.clock.now()
    with world.storage.begin() as unit:
        unit.beat(InstanceRow("another", "host", 7, "1.0", now, now - timedelta(minutes=59)))
    worker = CodeWorker(world, world.code())
    worker.script = (UNBEGUN,)
    (own,) = world.queue()
    world.run()
    assert world.statuses([own]) == ["killed"]

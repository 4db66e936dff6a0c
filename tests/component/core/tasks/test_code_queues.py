"""The queues of codes, as the core keeps them on the broker."""

from __future__ import annotations

from reworker.core.tasks.code_queues import AGAIN_S, LOOK_S
from reworker.errors import ConnectionLost
from tests.component.core.tasks.kit import CodeWorker, TaskWorld

STARTED = ({"status": "started"},)


def test_code_whose_queue_cannot_be_made_holds_up_no_other(world: TaskWorld) -> None:
    bad, good = world.code("Bad"), world.code("Good")
    CodeWorker(world, good)
    queues = world.core.task_desk._queues
    require = queues.require

    def refuse(code_id: str) -> None:
        if code_id == bad.id:
            raise ConnectionLost("the broker is away")
        require(code_id)

    queues.require = refuse
    (waits,) = world.queue(code_name="Bad")
    (runs,) = world.queue(code_name="Good")
    world.run()
    assert world.statuses([waits, runs]) == ["queued", "complete"]
    CodeWorker(world, bad)
    queues.require = require
    world.run()
    assert world.statuses([waits]) == ["complete"]


def test_queue_of_a_deleted_code_goes_once_none_of_its_tasks_runs(world: TaskWorld) -> None:
    code = world.code()
    worker = CodeWorker(world, code)
    worker.script = STARTED
    (own,) = world.queue()
    world.run()
    world.core.service.codes.remove(code)
    queue = f"worker.code.{code.id}"
    world.clock.advance(LOOK_S)
    world.run()
    assert queue in world.broker.model.queues
    worker.answer(own, {"status": "completed", "data": {"exit_code": 0}})
    world.run()
    worker.bus.close()  # those of codes take from their queues without being readers of them
    world.clock.advance(LOOK_S)
    world.run()
    assert queue not in world.broker.model.queues
    assert world.statuses([own]) == ["complete"]


def test_queue_that_somebody_has_deleted_is_there_again_for_the_next_task(world: TaskWorld) -> None:
    code = world.code()
    world.queue()
    world.run()
    del world.broker.model.queues[f"worker.code.{code.id}"]
    world.clock.advance(AGAIN_S)
    world.queue()
    world.run()
    assert f"worker.code.{code.id}" in world.broker.model.queues

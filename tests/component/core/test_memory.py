"""What a core remembers between two transactions: only what is as it was committed, and not too much."""

from __future__ import annotations

import gc

import pytest
import sqlalchemy

from reworker.core import history
from reworker.core.codec import PlanCache
from reworker.errors import StorageUnavailable
from reworker.fsm.events import Decision
from reworker.fsm.plan import Plan
from reworker.storage.contract import DeploymentRow
from reworker.topology import names
from tests.component.core.kit import Worker, World, playbook
from tests.component.core.test_storage_faults import raising


def test_plans_are_given_up_when_many_deployments_are_remembered(world: World, worker: Worker) -> None:
    worker.script = ()
    memory = world.core.loop._memory
    memory.plans = PlanCache(limit_bytes=1)
    text = playbook(locks=False, description="to be given up")
    ids = [world.core.service.submit(text) for _ in range(5)]
    world.run()
    assert memory.heads(ids).keys() == set(ids)
    gc.collect()
    plans = [one for one in gc.get_objects() if isinstance(one, Plan)]
    assert sum(one.sequences[0].description == "to be given up" for one in plans) <= 1
    for one in ids:
        worker.reply({"status": "completed"}, f"{one}.1")
    world.run()
    assert {world.status(one) for one in ids} == {"completed"}


def spoil(world: World, own_id: str) -> None:
    """Take the number of a deployment's next event, as in a database put together from two backups."""
    copied = (
        "INSERT INTO event SELECT deployment_id, ?, kind, at, actor, data, 'x', ignored, hash"
        " FROM event WHERE deployment_id = ? AND seq = 1"
    )
    next_seq = world.deployment(own_id).row.last_seq + 1
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(copied, (next_seq, own_id))


def test_event_that_can_never_be_stored_stops_no_other(world: World, worker: Worker) -> None:
    worker.script = ()
    spoilt, other = (world.core.service.submit(playbook(locks=False)) for _ in range(2))
    world.run()
    spoil(world, spoilt)
    for one in (spoilt, other):
        worker.reply({"status": "completed"}, f"{one}.1")
    world.run()
    world.advance(1)
    assert world.status(other) == "completed"
    assert world.core.health().storage_error == ""
    assert world.broker.message_count(names.DEAD_QUEUE) == 1


def test_timer_whose_event_can_never_be_stored_stops_no_other(world: World, worker: Worker) -> None:
    worker.script = ()
    step = {"noop:Do": {"a": 1}, "queue_timeout": "5s"}
    spoilt, other = (world.core.service.submit(playbook(step, locks=False)) for _ in range(2))
    world.run()
    spoil(world, spoilt)
    world.clock.advance(6)
    for _ in range(10):
        world.core.loop.turn()
    assert world.status(other) == "failed"
    assert world.core.counters.snapshot()["set_aside"] == 1


@pytest.mark.parametrize("who", ["writer", "watch"])
def test_what_is_remembered_is_forgotten_when_a_stand_by_may_have_taken_over(
    world: World, worker: Worker, who: str
) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    before = world.deployment(own_id).row
    worker.reply({"status": "started"}, f"{own_id}.1", message_id="lost")
    world.run()
    lost = world.deployment(own_id).row
    go_back(world, before)
    if who == "writer":
        world.storage.fault = raising(StorageUnavailable("the server is gone"))
        worker.reply({"status": "running"}, f"{own_id}.1")
    else:
        world.storage.has_foreign_writes = raising(StorageUnavailable("gone"))  # type: ignore[method-assign, assignment]  # it only raises
    world.advance(0.1)
    world.storage.fault = None
    world.core.service.pause(own_id)
    assert world.deployment(own_id).row.version == lost.version
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.advance(10)
    assert world.status(own_id) == "paused"
    assert history.problems(world.storage.reader, own_id) == []


def test_what_is_said_of_an_attempt_counts_when_it_is_newer_than_what_is_remembered(
    world: World, worker: Worker
) -> None:
    worker.script = ()
    step = {"noop:Do": {"a": 1}, "on_unknown": "ask"}
    own_id = world.core.service.submit(playbook(step, locks=False))
    world.run()
    worker.reply({"status": "unknown"}, f"{own_id}.1")
    world.run()
    world.core.service.decide(own_id, 1, Decision.RETRY)
    world.run()
    assert world.kinds(own_id).count("DispatchConfirmed") == 2
    worker.reply({"status": "completed"}, f"{own_id}.2")
    world.run()
    assert world.status(own_id) == "completed"
    assert world.broker.message_count(names.DEAD_QUEUE) == 0


def test_deployment_is_not_asked_for_when_it_is_remembered(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two", locks=False))
    world.run()
    texts: list[str] = []
    sqlalchemy.event.listen(
        world.storage._writer, "before_cursor_execute", lambda *given: texts.append(given[2])
    )
    worker.reply({"status": "started"}, f"{own_id}.1")
    world.run()
    assert world.kinds(own_id)[-1] == "ReplyStarted"
    assert any("UPDATE deployment" in one for one in texts)
    assert not any("FROM deployment" in one for one in texts)


def go_back(world: World, row: DeploymentRow) -> None:
    """Undo what was committed after a row, as a stand-by that had not heard of it."""
    own_id, version, snapshot = row.id, row.version, row.snapshot.decode()
    undo = "DELETE FROM event WHERE deployment_id = ? AND seq > ?"
    restore = "UPDATE deployment SET version = ?, snapshot = ?, last_seq = ?, last_hash = ? WHERE id = ?"
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(undo, (own_id, row.last_seq))
        unit._connection.exec_driver_sql(restore, (version, snapshot, row.last_seq, row.last_hash, own_id))

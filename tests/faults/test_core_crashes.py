"""The failure matrix: the core dies at any instruction, and the deployment still ends in a true state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.core import history
from reworker.core.batch import Applied
from reworker.core.publisher import POLL_S
from reworker.errors import StorageError
from reworker.fsm.events import Decision
from reworker.storage.sql import SqlStorage
from tests.component.core.kit import Fuse, Worker, World, playbook, running

#: points at which the core of this deployment can die; the run without a death passes at most as many.
POINT_COUNT = 14
LEASE_S = 16.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world with a core that runs."""
    with running(World(tmp_path)) as made:
        yield made


def two_steps(*, is_idempotent: bool) -> str:
    return playbook(*({name: {"a": 1}, "idempotent": is_idempotent} for name in ("noop:One", "noop:Two")))


def executions(worker: Worker) -> Counter[str]:
    return Counter(step.properties.correlation_id or "" for step in worker.steps)


def run_with_a_death(world: World, fuse: Fuse, text: str) -> str:
    """Submit, die where the fuse burns, start again and go on until the end."""
    world.kill()
    world.start(fuse)
    fuse_of_submit, world.storage.fuse = world.storage.fuse, Fuse()
    own_id = world.core.service.submit(text)
    world.storage.fuse = fuse_of_submit
    world.run()
    if not world.is_running:
        world.start()
        world.run()
        world.advance(LEASE_S)
        world.advance(2)
    return own_id


@pytest.mark.parametrize("point", range(1, POINT_COUNT + 1))
def test_deployment_completes_when_the_core_dies_and_steps_are_idempotent(world: World, point: int) -> None:
    worker = Worker(world.broker)
    own_id = run_with_a_death(world, Fuse(point), two_steps(is_idempotent=True))
    assert world.status(own_id) == "completed"
    assert set(executions(worker)) == {f"{own_id}.1", f"{own_id}.2"}
    assert history.problems(world.storage.reader, own_id) == []
    assert world.storage.reader.outbox_count() == 0
    assert world.broker.message_count("re.replies") == 0


@pytest.mark.parametrize("point", range(1, POINT_COUNT + 1))
def test_step_never_runs_twice_when_the_core_dies_and_it_is_not_idempotent(world: World, point: int) -> None:
    worker = Worker(world.broker)
    own_id = run_with_a_death(world, Fuse(point), two_steps(is_idempotent=False))
    while world.status(own_id) == "waiting":
        doubtful = world.deployment(own_id).state.attempts[0]
        assert executions(worker)[f"{own_id}.{doubtful.number}"] == 0, "answered steps leave no doubt"
        world.core.service.decide(own_id, doubtful.number, Decision.RETRY)
        world.run()
    assert world.status(own_id) == "completed"
    assert set(executions(worker).values()) == {1}
    assert history.problems(world.storage.reader, own_id) == []
    assert world.storage.reader.outbox_count() == 0


def test_points_of_a_run_are_all_covered_when_nothing_dies(world: World) -> None:
    Worker(world.broker)
    fuse = Fuse()
    run_with_a_death(world, fuse, two_steps(is_idempotent=False))
    assert len(fuse.passed) == POINT_COUNT
    assert set(fuse.passed) == {"before commit", "after commit", "before publish", "after publish"}


def start_waiting_deployment(world: World, *, is_idempotent: bool) -> tuple[Worker, str]:
    """Return a worker that stays silent, and a deployment whose first step it has."""
    worker = Worker(world.broker)
    worker.script = ()
    own_id = world.core.service.submit(two_steps(is_idempotent=is_idempotent))
    world.run()
    return worker, own_id


def test_reply_changes_once_when_the_core_dies_before_commit(world: World) -> None:
    worker, own_id = start_waiting_deployment(world, is_idempotent=True)
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.storage.fuse = Fuse(1)
    world.run()
    assert world.storage.fuse.passed == []
    assert not world.is_running
    world.start()
    assert world.kinds(own_id) == ["Submitted", "LocksGranted", "DispatchConfirmed"]
    world.run()
    assert world.kinds(own_id) == [
        "Submitted",
        "LocksGranted",
        "DispatchConfirmed",
        "ReplyCompleted",
        "DispatchConfirmed",
    ]
    assert executions(worker) == {f"{own_id}.1": 1, f"{own_id}.2": 1}


def test_reply_changes_once_when_the_core_dies_after_commit_before_ack(world: World) -> None:
    worker, own_id = start_waiting_deployment(world, is_idempotent=True)
    worker.reply({"status": "started"}, f"{own_id}.1")
    world.storage.fuse = Fuse(2)
    world.run()
    assert not world.is_running
    assert world.broker.message_count("re.replies") == 1, "not acknowledged, so delivered again"
    world.start()
    world.run()
    assert world.broker.message_count("re.replies") == 0
    assert world.kinds(own_id) == ["Submitted", "LocksGranted", "DispatchConfirmed", "ReplyStarted"]
    assert world.core.counters.snapshot()["replies_duplicate"] == 1


def test_step_is_published_at_once_when_the_core_died_after_commit_before_publish(world: World) -> None:
    worker = Worker(world.broker)
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.kill()
    world.start()
    world.run()
    assert world.status(own_id) == "completed"
    assert executions(worker) == {f"{own_id}.1": 1, f"{own_id}.2": 1}


def test_step_is_published_again_when_its_confirm_was_not_stored_and_it_is_idempotent(world: World) -> None:
    worker = Worker(world.broker)
    worker.script = ()
    own_id = world.core.service.submit(two_steps(is_idempotent=True))
    world.broker.hold_confirms()
    world.run()
    world.kill()
    world.broker.hold_confirms(False)
    world.start()
    world.run()
    assert executions(worker) == {f"{own_id}.1": 2}
    assert len({step.properties.message_id for step in worker.steps}) == 1, "with the same ids"


def test_step_is_published_at_once_when_its_core_died_with_a_claim_and_it_is_idempotent(
    world: World,
) -> None:
    worker = Worker(world.broker)
    own_id = world.core.service.submit(two_steps(is_idempotent=True))
    world.storage.fuse.burns_at = len(world.storage.fuse.passed) + 3
    world.run()
    assert (world.is_running, worker.steps) == (False, []), "died between claim and publish"
    world.start()
    world.run()
    assert executions(worker)[f"{own_id}.1"] == 1, "without waiting for the lease"


def test_step_is_in_doubt_when_its_confirm_was_not_stored_and_it_is_not_idempotent(world: World) -> None:
    worker = Worker(world.broker)
    worker.script = ()
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.broker.hold_confirms()
    world.run()
    world.kill()
    world.broker.hold_confirms(False)
    world.start()
    world.run()
    assert world.status(own_id) == "running", "until its lease is over an answer may still come"
    world.advance(LEASE_S)
    world.advance(POLL_S)  # one that lies in the queue would come now
    assert world.status(own_id) == "waiting"
    assert executions(worker) == {f"{own_id}.1": 1}
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert world.kinds(own_id)[-2:] == ["ReplyCompleted", "DispatchConfirmed"], "the answer ends the doubt"


def test_answer_ends_the_doubt_before_it_begins_when_the_worker_has_replied(world: World) -> None:
    worker = Worker(world.broker)
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.broker.hold_confirms()
    world.run()
    assert world.status(own_id) == "completed", "a reply proves that the message arrived"
    assert world.kinds(own_id) == [
        "Submitted",
        "LocksGranted",
        *["DispatchConfirmed", "ReplyStarted", "ReplyCompleted"] * 2,
    ]
    world.broker.hold_confirms(False)
    world.run()
    assert executions(worker) == {f"{own_id}.1": 1, f"{own_id}.2": 1}


def test_connection_loss_leaves_a_doubt_when_a_confirm_is_missing(world: World) -> None:
    worker = Worker(world.broker)
    worker.script = ()
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.broker.hold_confirms()
    world.run()
    world.broker.drop_connections()
    world.broker.hold_confirms(False)
    world.run()
    assert world.status(own_id) == "waiting"
    assert executions(worker)[f"{own_id}.1"] == 1


def test_steps_wait_in_the_database_when_the_broker_is_away(world: World) -> None:
    worker = Worker(world.broker)
    world.broker.stop()
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.advance(600)
    assert world.status(own_id) == "running"
    assert world.storage.reader.outbox_count() == 1
    assert world.core.health().in_flight_count == 0, "where a cancel finds it"
    world.broker.start()
    world.run()
    assert world.status(own_id) == "completed"
    assert executions(worker) == {f"{own_id}.1": 1, f"{own_id}.2": 1}


def test_steps_wait_in_the_database_when_the_broker_is_blocked(world: World) -> None:
    worker = Worker(world.broker)
    world.broker.block()
    own_id = world.core.service.submit(two_steps(is_idempotent=False))
    world.advance(600)
    assert worker.steps == []
    assert world.core.health().in_flight_count == 0, "where a cancel finds it"
    world.broker.block(False)
    world.run()
    assert world.status(own_id) == "completed"


def test_cancelled_step_is_never_published_when_the_broker_comes_back(world: World) -> None:
    worker = Worker(world.broker)
    world.broker.stop()
    own_id = world.core.service.submit(two_steps(is_idempotent=True))
    world.run()
    assert world.core.service.cancel(own_id, actor="ann").applied is Applied.CHANGED
    world.advance(60)
    assert world.status(own_id) == "cancelled"
    world.broker.start()
    world.run()
    assert worker.steps == []
    assert world.storage.reader.outbox_count() == 0


def test_broker_restart_changes_nothing_when_a_step_is_at_work(world: World) -> None:
    worker, own_id = start_waiting_deployment(world, is_idempotent=False)
    world.broker.drop_connections()
    world.run()
    for number in (1, 2):
        worker.reply({"status": "completed"}, f"{own_id}.{number}")
        world.run()
    assert world.status(own_id) == "completed"


def test_step_times_out_with_a_reason_when_its_queue_was_wiped(world: World) -> None:
    worker = Worker(world.broker)
    worker.bus.close()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "30s"}))
    world.run()
    world.broker.delete_queue("worker.noop")
    world.advance(29)
    assert world.status(own_id) == "running"
    world.advance(2)
    assert world.status(own_id) == "failed"
    assert "worker.noop" in world.deployment(own_id).state.reason


def test_step_is_published_again_when_the_broker_could_not_take_it_in_time(world: World) -> None:
    worker = Worker(world.broker)
    own_id = world.core.service.submit(two_steps(is_idempotent=True))
    worker.script = ()
    world.broker.hold_confirms()
    world.run()
    world.advance(11)
    assert executions(worker) == {f"{own_id}.1": 1}, "its deadline is over, its delay is not"
    world.broker.hold_confirms(False)
    world.advance(2)
    assert executions(worker) == {f"{own_id}.1": 2}
    assert world.status(own_id) == "running"
    assert world.storage.reader.outbox_count() == 0


def test_second_core_is_refused_when_one_runs_on_the_database(world: World) -> None:
    second = SqlStorage(world.path)
    with pytest.raises(StorageError, match="another core"):
        second.lock_core(world.settings.name)
    second.close()

"""The database is away, full or damaged: nothing is acknowledged, nothing is lost, the core says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.errors import StaleVersion, StorageUnavailable
from reworker.topology import names
from tests.component.core.kit import FusedStorage, Worker, World, playbook, running


class BlindStorage(FusedStorage):
    """A database that cannot be watched, as when another process has taken the core's name."""

    look_count = 0

    def has_foreign_writes(self) -> bool:
        self.look_count += 1
        raise StorageUnavailable("another connection still holds the name")


def raising(error: Exception) -> Callable[[], None]:
    def fault() -> None:
        raise error

    return fault


@pytest.mark.parametrize(
    "error",
    [StorageUnavailable("database is locked"), StorageUnavailable("disk is full"), StaleVersion("two cores")],
)
def test_replies_are_held_unacknowledged_when_the_database_is_away(
    world: World, worker: Worker, error: Exception
) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    world.run()
    world.storage.fault = raising(error)
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    for _ in range(20):
        world.advance(10)
    assert world.core.health().storage_error == str(error)
    assert not world.core.health().is_well
    assert world.kinds(own_id) == ["Submitted", "LocksGranted", "DispatchConfirmed"]
    world.storage.fault = None
    world.advance(10)
    assert world.status(own_id) == "completed"
    assert world.core.health().storage_error == ""
    assert world.broker.message_count(names.DEAD_QUEUE) == 0


def test_held_replies_come_again_when_the_core_dies_meanwhile(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    world.run()
    world.storage.fault = raising(StorageUnavailable("disk is full"))
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    world.kill()
    world.start()
    world.run()
    assert world.status(own_id) == "completed"


def test_nothing_is_published_when_its_commit_fails(world: World, worker: Worker) -> None:
    world.core.service.submit(playbook())
    world.storage.fault = raising(StorageUnavailable("disk is full"))
    world.run()
    world.advance(10)
    assert worker.steps == []
    world.storage.fault = None
    world.advance(10)
    assert len(worker.steps) == 1


@pytest.mark.parametrize("error", [StorageUnavailable("locked"), StaleVersion("deadlock detected")])
def test_job_waits_unacknowledged_when_the_database_is_away(
    world: World, worker: Worker, error: Exception
) -> None:
    stored = world.core.service.library.store(playbook())
    raw = f'{{"group": "web", "playbook_id": "{stored.id}"}}'.encode()
    world.storage.fault = raising(error)
    worker.send(names.EXCHANGE, names.JOB_KEY, raw)
    world.broker.pump()
    for _ in range(3):
        world.core.jobs.turn()
    assert world.core.service.deployments() == []
    world.storage.fault = None
    world.advance(10)
    assert len(world.core.service.deployments()) == 1
    assert world.broker.message_count(names.DEAD_QUEUE) == 0


def test_core_is_red_and_says_what_to_do_when_its_file_is_replaced(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    world.run()
    moved = world.path.rename(world.path.with_name("moved.db"))
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert "removed or replaced" in world.core.health().storage_error
    moved.rename(world.path)
    world.advance(10)
    assert world.status(own_id) == "completed", "it is there again"


def test_core_works_on_and_looks_seldom_when_it_cannot_watch_other_processes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.make_storage = BlindStorage
    with running(world):
        worker = Worker(world.broker)
        own_id = world.core.service.submit(playbook())
        for _ in range(100):
            world.advance(0.05)
        assert world.status(own_id) == "completed", worker.steps
        assert isinstance(world.storage, BlindStorage)
        assert 4 <= world.storage.look_count <= 6
        assert caplog.text.count("another connection still holds the name") == 1


def test_other_timers_fire_when_one_cannot_be_handled(world: World, worker: Worker) -> None:
    worker.script = ()
    step = {"noop:Do": {"a": 1}, "queue_timeout": "20s"}
    ids = [world.core.service.submit(playbook(step, locks=False)) for _ in range(3)]
    world.run()
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE deployment SET snapshot = '{', version = version + 1 WHERE id = ?", (ids[0],)
        )
    world.advance(25)
    assert {world.status(one) for one in ids[1:]} == {"failed"}
    assert world.core.counters.snapshot()["set_aside"] == 1


def test_timers_fire_when_the_database_was_away_at_their_time(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "20s"}))
    world.run()
    world.storage.fault = raising(StorageUnavailable("locked"))
    world.advance(25)
    assert world.status(own_id) == "running"
    world.storage.fault = None
    world.advance(10)
    assert world.status(own_id) == "failed"


def test_replies_are_held_when_the_disk_is_really_full(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    world.run()
    world.limit_pages(to_present=True)
    worker.reply({"status": "completed", "data": "x" * 500_000}, f"{own_id}.1")
    world.run()
    world.advance(10)
    assert "full" in world.core.health().storage_error
    assert world.status(own_id) == "running"
    world.limit_pages(to_present=False)
    world.advance(10)
    assert world.status(own_id) == "completed"
    assert world.core.service.attempts(own_id)[0].data == "x" * 500_000

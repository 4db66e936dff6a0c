"""Several cores on one database: no leader, nothing lost, nothing doubled, also when one freezes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from reworker.core import history
from reworker.errors import StaleVersion, StorageError
from reworker.fsm.events import Decision
from reworker.topology import names
from tests.component.core.kit import Fuse, Worker, World, playbook, run_all, running

#: points outside of a transaction that one of two cores passes at least during a deployment of two steps.
POINT_COUNT = 5
LEASE_S, LOOK_S = 16.0, 0.2


class Freeze(Fuse):
    """Stops the core at the n-th point outside of a transaction, for as long as `during` takes."""

    def __init__(self, stops_at: int, during: Callable[[], None]) -> None:
        super().__init__()
        self._stops_at, self._during = stops_at, during

    def point(self, name: str) -> None:
        if name == "before commit":
            return  # a file of SQLite is locked until then: everybody waits
        self.passed.append(name)
        if len(self.passed) == self._stops_at:
            self._during()


@pytest.fixture
def other(world: World) -> Iterator[World]:
    """A second core, on the same database and broker."""
    with running(world.beside("other")) as made:
        yield made


def executions(worker: Worker) -> Counter[str]:
    return Counter(step.properties.correlation_id or "" for step in worker.steps)


def decide_all(world: World, worker: Worker, own_id: str) -> None:
    """Have every doubt retried, but only where nothing was done."""
    while world.status(own_id) == "waiting":
        doubtful = world.deployment(own_id).state.attempts[0]
        assert executions(worker)[f"{own_id}.{doubtful.number}"] == 0, "answered steps leave no doubt"
        world.core.service.decide(own_id, doubtful.number, Decision.RETRY)
        world.run()


def test_core_is_refused_when_another_of_its_name_runs(world: World) -> None:
    twin = world.beside(world.settings.name)
    with pytest.raises(StorageError, match="another core"):
        twin.start()
    twin.storage.close()


def test_replies_of_one_attempt_count_when_two_cores_get_them(
    world: World, other: World, worker: Worker
) -> None:
    ids = [world.core.service.submit(playbook(*["noop:Do"] * 5, locks=False)) for _ in range(4)]
    run_all(world, other, advance_s=LOOK_S)
    assert {world.status(one) for one in ids} == {"completed"}
    shares = [one.core.counters.snapshot()["replies"] for one in (world, other)]
    assert sum(shares) == 40
    assert min(shares) > 0, "both took part"
    assert set(executions(worker).values()) == {1}
    assert all(history.problems(world.storage.reader, one) == [] for one in ids)


def test_reply_counts_once_when_both_cores_get_it(world: World, other: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    for _ in range(10):
        worker.reply({"status": "completed"}, f"{own_id}.1", message_id="the same")
    run_all(world, other, advance_s=LOOK_S)
    assert world.kinds(own_id).count("ReplyCompleted") == 1
    assert worker.hosts == ["web1"] * 2


def test_timer_fires_once_when_two_cores_see_it(world: World, other: World, worker: Worker) -> None:
    worker.script = ()
    step = {"noop:Do": {"a": 1}, "queue_timeout": "5s"}
    ids = [world.core.service.submit(playbook(step, locks=False)) for _ in range(4)]
    run_all(world, other, advance_s=6.0)
    assert {world.status(one) for one in ids} == {"failed"}
    assert all(world.kinds(one).count("QueueTimedOut") == 1 for one in ids)
    fired = [one.core.counters.snapshot()["timers_fired"] for one in (world, other)]
    assert sum(fired) == 4


def test_step_is_published_by_the_other_core_within_the_lease_when_one_dies(
    world: World, other: World, worker: Worker
) -> None:
    world.kill()
    world.start(Fuse(3))
    step = {"noop:Do": {"a": 1}, "idempotent": True}
    own_id = other.core.service.submit(playbook(step))
    world.run()
    assert not world.is_running
    run_all(other, advance_s=LEASE_S)
    assert other.status(own_id) == "completed"


def test_job_starts_one_deployment_when_the_core_that_had_it_dies(
    world: World, other: World, worker: Worker
) -> None:
    stored = world.core.service.library.store(playbook())
    raw = f'{{"group": "web", "playbook_id": "{stored.id}"}}'.encode()
    worker.send(names.EXCHANGE, names.JOB_KEY, raw)
    world.broker.pump()
    takers = [one for one in (world, other) if one.core.jobs.turn()]
    assert len(takers) == 1, "one of them has it"
    run_all(world, other, advance_s=LOOK_S)
    assert len(world.core.service.deployments()) == 1


def test_lines_get_numbers_of_their_own_when_two_cores_write_them(
    world: World, other: World, worker: Worker
) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    for number in range(40):
        worker.send(
            names.EXCHANGE, names.OUTPUT_KEY, f'{{"message": "{number}"}}'.encode(), correlation_id=own_id
        )
        run_all(world, other)
    lines = world.core.service.log_lines(own_id)
    assert [line.no for line in lines] == list(range(1, 41))
    assert sorted(int(line.text) for line in lines) == list(range(40))
    assert "lines_dropped" not in world.core.counters.snapshot() | other.core.counters.snapshot()


def test_batch_is_tried_again_at_once_when_another_core_was_faster(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    world.run()
    faults = [StaleVersion("changed by another core")] * 3

    def fault() -> None:
        if faults:
            raise faults.pop()

    world.storage.fault = fault
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert world.status(own_id) == "completed", "without time having passed"
    assert world.core.health().storage_error == ""


@pytest.mark.parametrize("is_idempotent", [True, False], ids=["idempotent", "once"])
@pytest.mark.parametrize("point", range(1, POINT_COUNT + 1))
def test_nothing_is_doubled_when_a_core_freezes_and_goes_on_after_its_lease(
    world: World, other: World, worker: Worker, point: int, is_idempotent: bool
) -> None:
    steps = ({name: {"a": 1}, "idempotent": is_idempotent} for name in ("noop:One", "noop:Two"))
    own_id = other.core.service.submit(playbook(*steps))
    freeze = Freeze(point, lambda: run_all(other, advance_s=LEASE_S))
    world.storage.fuse = world._bus.fuse = freeze
    world.run()
    world.storage.fuse = world._bus.fuse = Fuse()
    assert len(freeze.passed) >= point, "every one of these points is passed"
    run_all(world, other, advance_s=LEASE_S)
    decide_all(world, worker, own_id)
    run_all(world, other, advance_s=LEASE_S)
    assert world.status(own_id) == "completed"
    if not is_idempotent:
        assert set(executions(worker).values()) == {1}
    assert history.problems(world.storage.reader, own_id) == []
    assert world.storage.reader.outbox_count() == 0


def test_step_is_not_published_by_a_frozen_core_when_a_person_has_had_it_repeated_meanwhile(
    world: World, other: World, worker: Worker
) -> None:
    own_id = other.core.service.submit(playbook({"noop:Do": {"a": 1}, "idempotent": False}))

    def meanwhile() -> None:
        run_all(other, advance_s=LEASE_S)
        decide_all(other, worker, own_id)
        run_all(other, advance_s=LOOK_S)

    world.storage.fuse = Freeze(1, meanwhile)
    world.run()
    world.storage.fuse = Fuse()
    run_all(world, other, advance_s=LEASE_S)
    assert world.status(own_id) == "completed"
    assert executions(worker) == {f"{own_id}.2": 1}
    assert world.storage.reader.outbox_count() == 0


@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_timers_are_moved_once_when_two_cores_see_the_clock_jump(
    world: World, other: World, worker: Worker, jump_s: float
) -> None:
    worker.script = ()
    step = {"noop:Do": {"a": 1}, "queue_timeout": "60s"}
    own_id = world.core.service.submit(playbook(step))
    run_all(world, other, advance_s=LOOK_S)
    for _ in range(2):
        world.clock.jump(jump_s)
        run_all(world, other, advance_s=10.0)
    assert world.status(own_id) == "running"
    with running(world.beside("third")) as third:
        world.clock.jump(jump_s)
        run_all(world, other, third, advance_s=35.0)
        assert world.status(own_id) == "running"
        run_all(world, other, third, advance_s=10.0)
        assert world.status(own_id) == "failed"

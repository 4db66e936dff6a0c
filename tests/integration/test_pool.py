"""Instances on a bus in memory: pace, heartbeats, limits, cancellation, drain, losses."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reworker.errors import MessageError
from reworker.messages import Control, StepHeaders, encode
from reworker.pool import instance as instances
from reworker.pool import pool as pools
from reworker.pool.watch import Vigil
from reworker.testing import FakeClock, Harness
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Job, Worker, step
from tests.integration.memory_pool import World
from tests.support.waiting import wait_until

QUEUE = "worker.scriptedworker"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.core.close()


def test_jobs_are_done_and_settled_when_they_arrive(world: World) -> None:
    with world.pool() as pool:
        attempts = [world.send(number) for number in range(30)]
        for attempt in attempts:
            world.wait(attempt, "started", "completed")
        wait_until(lambda: not pool.station.open_attempts)
    assert world.waiting(QUEUE) == 0


def test_instances_share_the_work_when_there_are_several(world: World) -> None:
    gate = threading.Barrier(3, timeout=30)

    class Meeting(Worker):
        @step("Meet")
        def meet(self, job: Job) -> int:
            return gate.wait()

    with world.pool(Meeting, count=3):
        attempts = [world.send(n, key="worker.meeting", subcommand="Meet") for n in range(3)]
        for attempt in attempts:
            world.wait(attempt, "started", "completed")


def test_workers_of_one_process_have_names_of_their_own_when_they_reply(world: World) -> None:
    with world.pool(count=2):
        for number in range(20):
            world.wait_for(world.send(number), "completed")
    names = {(one.properties.headers or {})["x-worker"].split(":")[-1] for one in world.replies}
    assert names <= {"0", "1"}


def test_instance_reads_ahead_when_jobs_are_short(world: World) -> None:
    numbers = itertools.count()

    def do_another() -> None:
        world.wait_for(world.send(next(numbers), StepHeaders(is_idempotent=True)), "completed")

    with world.pool() as pool:
        for _ in range(instances.SHORT_COUNT - 1):
            do_another()
        assert pool.instances[0]._prefetch == 1

        def reads_ahead() -> bool:
            do_another()  # on a busy machine some are not short, and the count begins anew
            return pool.instances[0]._prefetch == 16

        wait_until(reads_ahead)
        do_another()
        assert pool.instances[0]._prefetch == 16


def test_instance_stays_at_one_delivery_when_a_step_may_not_run_twice(world: World) -> None:
    with world.pool() as pool:
        for number in range(instances.SHORT_COUNT + 2):
            world.wait_for(world.send(number), "completed")
        assert pool.instances[0]._prefetch == 1


def test_instance_goes_back_to_one_delivery_when_such_a_step_comes(world: World) -> None:
    with world.pool() as pool:
        pool.instances[0]._consume(16)
        world.wait_for(world.send(1), "completed")
        wait_until(lambda: pool.instances[0]._prefetch == 1)


def test_instance_stays_at_one_delivery_when_told_to(world: World) -> None:
    with world.pool(prefetch=1) as pool:
        for number in range(instances.SHORT_COUNT + 2):
            world.wait_for(world.send(number, StepHeaders(is_idempotent=True)), "completed")
        assert pool.instances[0]._prefetch == 1


def test_waiting_deliveries_go_to_others_when_a_job_turns_out_long(world: World) -> None:
    with world.pool() as pool:
        instance = pool.instances[0]
        instance._consume(16)
        first = world.send(0, outcome="slow", seconds=0.3)
        world.wait_for(first, "started")
        second = world.send(1)
        with world.pool():
            instance.slow_down()
            world.wait(second, "started", "completed")
        assert instance._prefetch == 1


@pytest.mark.parametrize(
    ("duration_s", "may_repeat", "short_count"),
    [(0.01, True, 1), (0.01, False, 0), (0.5, True, 0), (1.5, True, 0)],
)
def test_pace_counts_short_jobs_when_they_end(
    world: World, duration_s: float, may_repeat: bool, short_count: int
) -> None:
    with world.pool() as pool:
        pool.instances[0]._set_pace(duration_s, may_repeat=may_repeat)
        assert pool.instances[0]._short_count == short_count


def test_heartbeats_are_sent_when_the_step_wants_them(world: World) -> None:
    with world.pool():
        attempt = world.send(1, StepHeaders(heartbeat_s=0.01), outcome="slow", seconds=1.5)
        world.wait_for(attempt, "completed")
    statuses = world.statuses(attempt)
    assert statuses[0] == "started"
    assert statuses[-1] == "completed"
    assert statuses.count("running") >= 2


def test_job_is_stopped_when_its_time_is_up(world: World) -> None:
    with world.pool():
        attempt = world.send(1, StepHeaders(deadline_s=0.05), outcome="spin")
        world.wait(attempt, "started", "failed")
        world.wait(world.send(2), "started", "completed")


def vigil(pool: Any) -> Vigil:
    return Vigil(pool.instances[0], lambda *_: None)


def test_process_goes_on_without_an_instance_when_it_is_shared_with_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """As in `reworker up`: nobody would replace a process that holds the broker and the core too."""
    with world.pool(hard_timeout_s=0.05, drain_s=0.05):
        attempt = world.send(1, outcome="slow", seconds=1.0)
        world.wait(attempt, "started", "unknown")
        wait_until(lambda: "is lost with it" in caplog.text)
        assert any("time.sleep" in (one.stack_info or "") for one in list(caplog.records)), "where it hangs"


def test_watch_sees_nothing_when_nothing_runs(world: World) -> None:
    with world.pool() as pool:
        vigil(pool).look()


def test_watch_slows_an_instance_down_when_its_job_is_long(world: World) -> None:
    with world.pool() as pool:
        instance, clock = pool.instances[0], FakeClock()
        instance._consume(16)
        attempt = world.send(1, outcome="slow", seconds=0.8)
        world.wait_for(attempt, "started")
        instance.station.clock = clock
        clock.advance(1e9)
        vigil(pool).look()
        assert instance._prefetch == 1


def control(world: World, attempt: str, key: str = "cancel.scripted") -> None:
    world.publish("re.control", key, encode(Control(attempt, "no longer needed")))


class PatientWorker(Worker):
    @step("Wait")
    def wait(self, job: Job) -> None:
        job.sleep(60)


@pytest.mark.parametrize("key", ["cancel.patient", "cancel.patientworker"])
def test_running_job_is_cancelled_when_the_core_says_so(world: World, key: str) -> None:
    with world.pool(PatientWorker):
        attempt = world.send(1, key="worker.patient", subcommand="Wait")
        world.wait_for(attempt, "started")
        control(world, attempt, key)
        world.wait(attempt, "started", "cancelled")


def test_attempt_is_refused_when_it_was_cancelled_before_it_came(world: World) -> None:
    with world.pool() as pool:
        attempt = f"{5:024x}.1"
        control(world, attempt)
        wait_until(lambda: pool.station.cancellations.reason(attempt))
        world.send(5)
        world.wait(attempt, "cancelled")


def test_cancelled_attempts_are_forgotten_when_there_are_too_many() -> None:
    from reworker.jobs.station import Cancellations

    cancellations = Cancellations(max_count=1)
    assert cancellations.reason("a") is None
    cancellations.add("a", "x")
    cancellations.add("b", "y")
    assert (cancellations.reason("a"), cancellations.reason("b")) == (None, "y")


def test_control_message_is_ignored_when_malformed(world: World) -> None:
    with world.pool():
        world.publish("re.control", "cancel.scripted", b"broken")
        world.wait(world.send(1), "started", "completed")


def test_running_job_ends_and_unstarted_ones_go_back_when_the_pool_stops(world: World) -> None:
    with world.pool() as pool:
        pool.instances[0]._consume(16)
        first = world.send(1, outcome="slow", seconds=0.8)
        world.wait_for(first, "started")
        second = world.send(2)
        wait_until(lambda: pool.instances[0]._inbox.qsize() == 1)
    world.wait(first, "started", "completed")  # sent before the pool had stopped; the core may read it later
    assert world.statuses(second) == []
    assert world.waiting(QUEUE) == 1
    with world.pool():
        world.wait(second, "started", "completed")


def test_delivery_goes_back_when_it_comes_after_the_stop(world: World) -> None:
    with world.pool() as pool:
        late = Harness(ScriptedWorker).delivery({"parameters": {}})
        pool.instances[0].quiet()
        pool.instances[0]._on_delivery(late)
        wait_until(lambda: late.verdict)
        pool.instances[0]._consume(1)
        assert world.waiting(QUEUE) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [(StepHeaders(), "unknown"), (StepHeaders(is_idempotent=True), "failed"), (None, "failed")],
)
def test_job_that_does_not_end_is_reported_truly_when_the_drain_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch, headers: StepHeaders | None, status: str
) -> None:
    if sys.gettrace() is not None:
        pytest.skip("a traced CPython 3.11 waits for a thread that has an exception coming")
    monkeypatch.setattr(pools, "CANCEL_GRACE_S", 0.05)
    with world.pool(drain_s=0.05):
        attempt = world.send(1, headers, outcome="slow", seconds=1.0)
        world.wait_for(attempt, "started")
    world.wait(attempt, "started", status)
    assert world.waiting(QUEUE) == 0
    wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("worker ")])


def test_job_that_waits_politely_is_cancelled_when_the_drain_is_over(world: World) -> None:
    with world.pool(PatientWorker, drain_s=0.05):
        attempt = world.send(1, key="worker.patient", subcommand="Wait")
        world.wait_for(attempt, "started")
    world.wait(attempt, "started", "cancelled")


def test_run_returns_when_told_to_stop(world: World) -> None:
    worker = ScriptedWorker({"server": "memory"})
    pool = pools.WorkerPool(pools_bus(world), [worker])
    thread = threading.Thread(target=pool.run)
    thread.start()
    world.wait_for(send_when_ready(world), "completed")
    worker._pool = pool
    worker.stop()
    thread.join(30)
    assert not thread.is_alive()


def pools_bus(world: World) -> Any:
    from reworker.bus.memory import MemoryBus

    return MemoryBus(world.broker, name="worker")


def send_when_ready(world: World) -> str:
    wait_until(lambda: QUEUE in world.broker.model.queues)
    return world.send(1)


def test_job_runs_once_when_the_connection_is_lost_meanwhile(world: World) -> None:
    with world.pool() as pool:
        attempt = world.send(1, outcome="slow", seconds=0.3)
        world.wait_for(attempt, "started")
        world.broker.drop_connections()
        world.wait_for(attempt, "completed")
        wait_until(lambda: not pool.station.open_attempts and not world.waiting(QUEUE))
    assert set(world.statuses(attempt)) == {"started", "completed"}
    assert world.statuses(attempt).count("completed") == 1


def test_unstarted_step_of_a_lost_worker_is_answered_when_redelivered(world: World) -> None:
    """A message that another consumer held unacknowledged: nobody knows whether it ran."""
    with world.pool():
        pass
    held: list[Any] = []
    other = pools_bus(world)
    other.open(timeout_s=1)
    consumer = other.consume(QUEUE, held.append, prefetch=1)
    attempt = world.send(1)
    wait_until(lambda: held)
    consumer.cancel()
    other.close()
    with world.pool():
        world.wait(attempt, "unknown")


def test_flood_of_output_waits_for_the_broker_when_confirms_are_held(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reworker.jobs import attempt as attempts

    monkeypatch.setattr(attempts, "ROOM_WAIT_S", 0.0)
    with world.pool() as pool:
        pool.station.room = pool.instances[0].station.room = threading.BoundedSemaphore(10)
        world.broker.hold_confirms()
        attempt = world.send(1, outcome="chatty", count=100)
        wait_until(lambda: pool.instances[0].station.counts["output_dropped"] > 0)
        world.broker.hold_confirms(is_held=False)
        world.wait(attempt, "started", "completed")


def test_one_message_does_not_end_the_thread_when_the_library_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = iter([True])
    real = instances.execute

    def fail_once(worker: Any, station: Any, delivery: Any) -> None:
        if next(broken, False):
            raise RuntimeError("a bug of ours")
        real(worker, station, delivery)

    monkeypatch.setattr(instances, "execute", fail_once)
    with world.pool(count=1, prefetch=1) as pool:
        pool.instances[0]._consume(2)
        world.send(1)
        world.wait(world.send(2), "started", "completed")
    assert "could not be dealt with" in caplog.text


@pytest.mark.parametrize("error", [MessageError("odd"), RuntimeError("of a handler of somebody's log")])
def test_watch_goes_on_when_one_look_fails(
    world: World, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    with world.pool() as pool:

        class Odd:
            @property
            def current(self) -> Any:
                raise error

        station = pool.instances[0].station
        pool.instances[0].station = Odd()  # type: ignore[assignment]  # fails when looked at
        wait_until(lambda: "failed once" in caplog.text)
        pool.instances[0].station = station

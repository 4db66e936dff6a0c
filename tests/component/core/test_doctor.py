"""What the doctor finds in a database, and in what a broker says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from reworker.bus.inspection import QueueCounts
from reworker.bus.memory import MemoryBus
from reworker.core import doctor
from reworker.core.doctor import Finding
from reworker.storage.contract import LockRow, Reader, StorageReport
from reworker.topology import names
from reworker.topology.model import core_topology
from tests.component.core.kit import FusedStorage, Worker, World, playbook


class FullStorage(FusedStorage):
    """A database on a disk that is nearly full, that is damaged, and whose clock is apart."""

    def report(self) -> StorageReport:
        return StorageReport("SQLite", 1 << 20, 1 << 20, ("row 7 missing from index",))

    def clock_offset_s(self) -> float:
        return -90.0


class EndsMeanwhile:
    """A reader: all deployments end just after the locks were read."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world.storage.reader, name)

    def locks(self) -> list[LockRow]:
        found = self._world.storage.reader.locks()
        self._world.run()
        return found


def findings(world: World, pause: Callable[[], None] | None = None) -> dict[str, Finding]:
    now = world.clock.now()
    found: list[Finding] = [
        *doctor.examine_database(world.storage, now),
        *doctor.examine_waiting(world.storage.reader, now),
        *doctor.examine_deployments(world.storage, pause or (lambda: None)),
    ]
    return {one.check: one for one in found}


def bad(found: Iterable[Finding]) -> set[str]:
    return {one.check for one in found if not one.is_ok}


def change(world: World, statement: str, *values: object) -> None:
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(statement, values)


@pytest.fixture
def silent(world: World, worker: Worker) -> Worker:
    """A worker that does not answer, and a core that has beaten."""
    worker.script = ()
    world.core.upkeep.turn()
    return worker


def test_all_is_well_while_deployments_wait_for_what_they_may(world: World, silent: Worker) -> None:
    texts = [
        playbook({"noop:Do": {"a": 1}, "delay": "1h"}),
        playbook({"approval": {"text": "well?", "expires": "1h"}}, hosts=("web2",)),
        playbook({"noop:Do": {"a": 1}, "queue_timeout": "1h"}, hosts=("web3",)),
        playbook("noop:Do", hosts=("web4",)),
        playbook(hosts=("web1", "web4")),
    ]
    ids = [world.core.service.submit(text) for text in texts]
    world.run()
    world.core.service.pause(ids[3])
    world.run()
    found = findings(world)
    assert bad(found.values()) == set()
    assert "5 open deployments replayed" in found["history"].text
    assert doctor.steps_sent(world.storage.reader) == {"worker.noop": 2}


def test_core_is_missed_when_it_has_not_beaten(world: World, silent: Worker) -> None:
    assert findings(world)["cores"].text.startswith("core on ")
    world.clock.advance(31)
    found = findings(world)["cores"]
    assert not found.is_ok
    assert "none since" in found.text
    assert "reworker core" in found.advice


def test_messages_are_found_when_nobody_publishes_them(world: World, silent: Worker) -> None:
    world.kill()
    world.core.service.submit(playbook("noop:Do"))
    world.start()
    world.clock.advance(61)
    found = findings(world)
    assert not found["outbox"].is_ok
    assert "1 of them" in found["outbox"].text


def test_timers_are_found_when_nobody_fires_them(world: World, silent: Worker) -> None:
    world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "5s"}))
    world.run()
    world.clock.advance(36)
    assert not findings(world)["timers"].is_ok


def test_locks_are_found_when_their_deployment_has_ended(world: World, silent: Worker) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    change(world, "INSERT INTO lock VALUES ('host:x', 'gone', 99, '2026-01-01')")
    found = findings(world)["locks"]
    assert not found.is_ok
    assert "gone" in found.text
    assert own_id not in found.text


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("DELETE FROM timer", "its queue timer is gone (attempt 1)"),
        ("DELETE FROM outbox", "the message of attempt 1 is gone"),
    ],
)
def test_deployment_is_stuck_when_what_it_waits_for_is_gone(
    world: World, silent: Worker, damage: str, reason: str
) -> None:
    world.kill()
    world.start()
    world.broker.stop() if damage.endswith("outbox") else None
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "1h"}))
    world.run()
    change(world, damage)
    found = findings(world)["stuck"]
    assert not found.is_ok
    assert f"{own_id} ({reason})" in found.text


def test_locks_are_well_when_their_deployment_ends_while_they_are_looked_at(
    world: World, worker: Worker
) -> None:
    own_id = world.core.service.submit(playbook())
    reader = EndsMeanwhile(world)
    found = {one.check: one for one in doctor.examine_waiting(cast(Reader, reader), world.clock.now())}
    assert world.status(own_id) == "completed"
    assert found["locks"].is_ok
    assert found["locks"].text.startswith("1 locks are held")


def test_deployment_is_stuck_when_its_locks_are_free_and_nothing_wakes_it(
    world: World, silent: Worker
) -> None:
    first, second = (world.core.service.submit(playbook()) for _ in range(2))
    world.run()
    change(world, "DELETE FROM lock")
    found = findings(world)["stuck"]
    assert second in found.text
    assert first not in found.text


def test_deployment_is_not_stuck_when_it_has_gone_on_at_the_second_look(world: World, silent: Worker) -> None:
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "1h"}))
    world.run()
    change(world, "DELETE FROM timer")

    def go_on() -> None:
        silent.reply({"status": "completed"}, f"{own_id}.1")
        world.run()

    assert findings(world, go_on)["stuck"].is_ok


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET actor = 'eve' WHERE seq = 1",
        "UPDATE deployment SET snapshot = '{'",
        "DELETE FROM event WHERE seq = 2",
    ],
)
def test_history_is_found_broken(world: World, silent: Worker, damage: str) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    change(world, damage)
    found = findings(world)["history"]
    assert not found.is_ok
    assert own_id in found.text


def test_damage_a_full_disk_and_a_wrong_clock_are_found(world: World) -> None:
    world.kill()
    world.make_storage = FullStorage
    world.start()
    found = findings(world)
    assert bad(found.values()) >= {"integrity", "disk", "clock"}
    assert "row 7" in found["integrity"].text
    assert "-90.0 s" in found["clock"].text
    assert all(one.advice for one in found.values() if not one.is_ok)


def test_real_file_is_reported_whole(world: World) -> None:
    report = world.storage.report()
    assert report.engine.startswith("SQLite 3")
    assert report.problems == ()
    assert report.size_bytes > 0
    assert report.free_bytes is not None


def test_topology_is_missed_when_no_core_has_declared_it(world: World) -> None:
    bus = MemoryBus(world.broker, is_threaded=False, name="doctor")
    bus.open(timeout_s=1)
    assert doctor.examine_topology(bus, core_topology()).is_ok
    found = doctor.examine_topology(bus, core_topology("blue", "jobs"))
    assert "missing: blue, jobs" in found.text
    assert not found.is_ok
    bus.close()


@pytest.mark.parametrize(
    ("queue", "counts", "step_count", "words"),
    [
        (names.REPLY_QUEUE, QueueCounts(3, 1), 0, ""),
        (names.REPLY_QUEUE, QueueCounts(3, 0), 0, "start reworker core"),
        (names.REPLY_QUEUE, None, 0, "start reworker core"),
        (names.REPLY_QUEUE, QueueCounts(1001, 1), 0, "too slow"),
        (names.DEAD_QUEUE, QueueCounts(0, 0), 0, ""),
        (names.DEAD_QUEUE, QueueCounts(1, 0), 0, "reworker dead ls"),
        ("worker.foo", QueueCounts(1, 0), 7, "7 steps wait: start its worker"),
        ("worker.foo", QueueCounts(0, 2), 7, ""),
    ],
)
def test_queue_is_judged_by_its_depth_and_its_readers(
    queue: str, counts: QueueCounts | None, step_count: int, words: str
) -> None:
    (found,) = doctor.examine_queues({queue: counts} if counts else {}, {queue: step_count})
    assert found.is_ok is not bool(words)
    assert words in found.advice


def test_queue_of_another_name_is_no_finding_when_the_message_was_routed() -> None:
    assert list(doctor.examine_queues({}, {"worker.foo": 1})) == []

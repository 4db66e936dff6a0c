"""Beats, pruning, the replay after a start, and the clock that all cores share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from reworker.core.audit import AuditEntry, audit_row
from reworker.core.upkeep import BEAT_S, PRUNE_CHUNK_COUNT, ROOM_S, SEARCH_S, open_ids, prune
from reworker.errors import DeploymentNotFound
from reworker.storage.contract import LogRow
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from tests.component.core.kit import FusedStorage, Worker, World, playbook

DAY_S = 86400.0


class ServerStorage(FusedStorage):
    """A database on a machine whose clock is ahead."""

    def clock_offset_s(self) -> float:
        return 3600.0


def keep(world: World, days: int) -> None:
    world.kill()
    world.settings = type(world.settings)(keep_days=days)
    world.start()


def test_core_beats_for_display(world: World) -> None:
    for _ in range(2):
        world.core.upkeep.turn()
        world.advance(BEAT_S)
    world.core.upkeep.turn()
    (instance,) = world.storage.reader.instances()
    assert instance.name == "core"
    assert instance.beat_at == world.clock.now()
    assert instance.beat_at - instance.started_at == timedelta(seconds=2 * BEAT_S)


def test_deployments_and_their_lines_go_when_they_ended_long_ago(world: World, worker: Worker) -> None:
    keep(world, 30)
    old, *_ = ids = [world.core.service.submit(playbook()) for _ in range(3)]
    world.run()
    worker.send("re", "output", b'{"message": "a line"}', correlation_id=old)
    world.run()
    world.advance(20 * DAY_S)
    young = world.core.service.submit(playbook())
    world.run()
    worker.script = ()
    running = world.core.service.submit(playbook())
    world.advance(11 * DAY_S)
    world.core.upkeep.turn()
    assert world.core.counters.snapshot()["deployments_pruned"] == 3
    for own_id in ids:
        with pytest.raises(DeploymentNotFound):
            world.deployment(own_id)
    assert world.core.service.log_lines(old) == []
    assert [world.status(one) for one in (young, running)] == ["completed", "running"]


def test_audit_goes_when_it_is_old_and_only_if_somebody_says_so(world: World) -> None:
    def note() -> None:
        with world.storage.begin() as unit:
            unit.add_audit(audit_row(AuditEntry("deployment.start"), world.clock.now()))

    note()
    world.advance(400 * DAY_S)
    note()
    world.core.upkeep.turn()
    assert len(world.storage.reader.audit(limit=9)) == 2
    world.kill()
    world.settings = type(world.settings)(keep_audit_days=365)
    world.start()
    world.core.upkeep.turn()
    (left,) = world.storage.reader.audit(limit=9)
    assert left.at == world.clock.now()
    assert world.core.counters.snapshot()["audit_pruned"] == 1


class Watched(SqlLog):
    """Lines whose removal notes whether somebody else may write to the database meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.other = SqlStorage(path.with_name("core.db"), busy_timeout_s=0.01)
        self.limits: list[int] = []

    def remove(self, deployment_id: str, *, limit: int) -> bool:
        with self.other.begin():
            self.limits.append(limit)
        return super().remove(deployment_id, limit=limit)

    def close(self) -> None:
        self.other.close()
        super().close()


def test_database_can_be_written_while_lines_are_deleted_a_few_at_a_time(
    world: World, worker: Worker
) -> None:
    old = world.core.service.submit(playbook())
    world.run()
    chunk = LogRow(old, 1, 1, b'[[1, "2026-01-02T00:00:00Z", "x"]]')
    logs = Watched(log_path(world.path))
    logs.add([replace(chunk, first_no=number) for number in range(1, 2 * PRUNE_CHUNK_COUNT + 2)])
    world.advance(20 * DAY_S)
    pauses: list[float] = []
    assert prune(world.storage, logs, world.clock, 30, pause=pauses.append) == []
    assert logs.limits == []
    assert prune(world.storage, logs, world.clock, 10, pause=pauses.append) == [old]
    assert logs.limits == [PRUNE_CHUNK_COUNT] * 3
    assert pauses == [ROOM_S] * 4, "after each transaction"
    assert logs.lines(old) == []
    logs.close()


def test_room_is_as_long_as_the_transaction_took(world: World, worker: Worker) -> None:
    class Slow(SqlLog):
        def remove(self, deployment_id: str, *, limit: int) -> bool:
            world.clock.advance(0.5)
            return super().remove(deployment_id, limit=limit)

    world.core.service.submit(playbook())
    world.run()
    world.advance(2 * DAY_S)
    logs, pauses = Slow(log_path(world.path)), []
    prune(world.storage, logs, world.clock, 1, pause=pauses.append)
    assert pauses == [0.5, ROOM_S]
    logs.close()


def test_deployments_are_kept_for_ever_when_nothing_else_is_said(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    world.advance(10_000 * DAY_S)
    world.core.upkeep.turn()
    assert world.status(own_id) == "completed"


def test_pruning_waits_for_a_quiet_moment(world: World, worker: Worker) -> None:
    keep(world, 1)
    own_id = world.core.service.submit(playbook())
    world.run()
    world.advance(2 * DAY_S)
    worker.reply({"status": "started"}, f"{own_id}.1")
    world.broker.pump()
    world.core.upkeep.turn()
    assert world.status(own_id) == "completed", "a reply waits to be taken in"
    world.run()
    world.core.upkeep.turn()
    assert world.core.service.deployments() == []


def test_search_for_old_deployments_is_seldom_when_there_are_none(world: World, worker: Worker) -> None:
    keep(world, 1)
    own_id = world.core.service.submit(playbook())
    world.run()
    world.core.upkeep.turn()
    world.clock.jump(2 * DAY_S)
    world.core.upkeep.turn()
    assert world.status(own_id) == "completed"
    world.clock.advance(SEARCH_S)
    world.core.upkeep.turn()
    assert world.core.service.deployments() == []


def test_replay_after_the_start_says_what_is_wrong_and_goes_on(
    world: World, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.script = ()
    good, bad, torn = (world.core.service.submit(playbook(locks=False)) for _ in range(3))
    world.run()
    with world.storage.begin() as unit:
        run = unit._connection.exec_driver_sql
        run("UPDATE event SET actor = 'eve' WHERE seq = 1 AND deployment_id = ?", (bad,))
        run("UPDATE deployment SET snapshot = '{' WHERE id = ?", (torn,))
    world.core.upkeep.replay_open()
    assert world.core.counters.snapshot()["history_problems"] == 2
    assert bad in caplog.text
    assert torn in caplog.text
    assert good not in caplog.text
    assert set(open_ids(world.storage.reader, 10)) == {good, bad, torn}


def test_times_are_those_of_the_database_when_its_clock_is_ahead(world: World, worker: Worker) -> None:
    world.kill()
    world.make_storage = ServerStorage
    world.start()
    worker.script = ()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "60s"}))
    world.run()
    hour = timedelta(hours=1)
    assert world.deployment(own_id).row.created_at == world.clock.now() + hour
    world.advance(59)
    assert world.status(own_id) == "running"
    world.advance(2)
    assert world.status(own_id) == "failed"
    assert world.deployment(own_id).row.ended_at == world.clock.now() + hour

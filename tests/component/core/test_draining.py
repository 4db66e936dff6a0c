"""Draining: what was open comes to its end, as far as that takes no people."""

from __future__ import annotations

from typing import Any, cast

import pytest

from reworker.core.draining import Draining
from reworker.errors import StorageUnavailable
from reworker.storage.contract import DeploymentRow, Reader, TimerRow
from tests.component.core.kit import Worker, World, playbook


class SometimesAway:
    """A reader whose database comes and goes."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self.is_away = reader, False

    def deployments(self, **wanted: Any) -> list[DeploymentRow]:
        if self.is_away:
            raise StorageUnavailable("the server is away")
        return self._reader.deployments(**wanted)

    def timers(self) -> list[TimerRow]:
        return self._reader.timers()


def is_over(world: World, draining: Draining) -> bool:
    """Look twice, as the command does."""
    return [draining.is_over(), draining.is_over()][1]


def test_draining_ends_when_everything_that_was_open_has_ended(world: World, worker: Worker) -> None:
    worker.script = ()
    first, second = (world.core.service.submit(playbook()) for _ in range(2))
    world.run()
    draining = Draining(world.storage.reader)
    for own_id in (first, second):
        assert not is_over(world, draining)
        worker.reply({"status": "completed"}, f"{own_id}.1")
        world.run()
    assert is_over(world, draining)
    assert draining.left() == []


def test_draining_is_over_at_the_second_look_only(world: World) -> None:
    draining = Draining(world.storage.reader)
    assert [draining.is_over() for _ in range(3)] == [False, True, True]


def test_draining_is_not_over_while_the_database_is_away(world: World) -> None:
    reader = SometimesAway(world.storage.reader)
    draining = Draining(cast(Reader, reader))
    answers = []
    for reader.is_away in (False, True, False, False):
        answers.append(draining.is_over())
    assert answers == [False, False, False, True]


def test_draining_is_not_over_while_one_is_about_to_get_its_locks(world: World) -> None:
    asking = playbook({"approval": {"text": "well?"}})
    first, _ = (world.core.service.submit(asking) for _ in range(2))
    draining = Draining(world.storage.reader)
    world.core.service.cancel(first)
    assert world.status(first) == "cancelled", world.kinds(first)
    assert [draining.is_over() for _ in range(3)] == [False, False, False]


def test_draining_waits_for_no_deployment_that_came_later(world: World, worker: Worker) -> None:
    draining = Draining(world.storage.reader)
    worker.script = ()
    world.core.service.submit(playbook())
    world.run()
    assert is_over(world, draining)
    assert draining.left() == []


@pytest.mark.parametrize("is_paused", [True, False])
def test_draining_waits_for_no_people_and_for_nobody_behind_them(
    world: World, worker: Worker, is_paused: bool
) -> None:
    worker.script = () if is_paused else ({"status": "unknown"},)
    asking, behind = (world.core.service.submit(playbook("noop:One", "noop:Two")) for _ in range(2))
    world.run()
    draining = Draining(world.storage.reader)
    if is_paused:
        world.core.service.pause(asking)
        assert not is_over(world, draining), "a step is under way"
        worker.reply({"status": "completed"}, f"{asking}.1")
        world.run()
    assert is_over(world, draining)
    assert set(draining.left()) == {asking, behind}


def test_job_requests_stay_on_the_broker_when_the_core_drains(world: World, worker: Worker) -> None:
    world.kill()
    world.takes_jobs = False
    world.start()
    worker.send("re", "job.create", b"{}")
    world.run()
    assert world.broker.message_count(world.settings.job_queue) == 1

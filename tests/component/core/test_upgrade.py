"""A core of this version takes up what one of version 1 left in the middle: nobody notices."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.core import doctor, history
from reworker.fsm.events import Decision
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.storage.log import log_path
from tests.component.core.kit import Worker, World, playbook, running

DATA = Path(__file__).parents[2] / "contract" / "data"
COMPLETED = {"status": "completed"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world on a database of version 1, half a minute after its core was stopped."""
    made = World(tmp_path)
    for name, path in (("version-1.sql", made.path), ("version-1.log.sql", log_path(made.path))):
        path.unlink()
        with sqlite3.connect(path) as connection:
            connection.executescript((DATA / name).read_text())
        connection.close()
    made.clock.advance(30)
    with running(made):
        yield made


@pytest.fixture
def ids(world: World) -> dict[str, str]:
    """The deployments by name: each is called after the moment it was stopped at."""
    return {one.row.name: one.row.id for one in world.core.service.deployments()}


def is_sound(world: World, own_id: str) -> bool:
    return history.problems(world.storage.reader, own_id) == []


def test_every_history_is_sound_after_the_upgrade(world: World, ids: dict[str, str]) -> None:
    assert len(ids) >= 7
    assert all(is_sound(world, own_id) for own_id in ids.values())


def test_doctor_finds_nothing_stuck_after_the_upgrade(world: World, ids: dict[str, str]) -> None:
    found = list(doctor.examine_deployments(world.storage, lambda: None))
    assert [one.text for one in found if not one.is_ok] == []


@pytest.mark.parametrize("name", ["started", "sent", "paused"])
def test_deployment_goes_on_when_the_reply_comes_after_the_upgrade(
    world: World, worker: Worker, ids: dict[str, str], name: str
) -> None:
    own_id = ids[name]
    worker.reply(COMPLETED, f"{own_id}.1")
    world.run()
    if name == "paused":
        assert world.status(own_id) == "paused"
        world.core.service.resume(own_id)
        world.run()
    assert world.status(own_id) == "completed"
    view = world.deployment(own_id)
    assert view.state.completed_count == view.row.step_count
    assert is_sound(world, own_id)


def test_step_is_published_when_its_message_was_left_in_the_outbox(
    world: World, worker: Worker, ids: dict[str, str]
) -> None:
    world.run()
    assert world.status(ids["ready"]) == "completed"
    assert [step.properties.correlation_id for step in worker.steps] == [f"{ids['ready']}.1"]
    assert is_sound(world, ids["ready"])


def test_doubt_is_decided_after_the_upgrade(world: World, worker: Worker, ids: dict[str, str]) -> None:
    own_id = ids["waiting"]
    world.core.service.decide(own_id, 1, Decision.RETRY, actor="ann")
    world.run()
    assert world.status(own_id) == "completed"
    assert is_sound(world, own_id)


def test_timer_of_version_1_fires_after_the_upgrade(
    world: World, worker: Worker, ids: dict[str, str]
) -> None:
    world.advance(3600)
    assert world.status(ids["sent"]) == "failed"
    assert is_sound(world, ids["sent"])


@pytest.mark.parametrize("name", ["started", "sent", "waiting", "paused"])
def test_deployment_is_cancelled_after_the_upgrade(
    world: World, worker: Worker, ids: dict[str, str], name: str
) -> None:
    own_id = ids[name]
    world.core.service.cancel(own_id)
    world.run()
    world.advance(QUEUE_TIMEOUT_S if name == "sent" else 60)
    assert world.status(own_id) == "cancelled"
    assert is_sound(world, own_id)


def test_new_deployment_runs_beside_those_of_version_1(
    world: World, worker: Worker, ids: dict[str, str]
) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    assert world.status(own_id) == "completed"

"""Locks from the plan: one deployment at a time on a host, first come, first served, whatever dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from reworker.core import history
from tests.component.core.kit import Fuse, Worker, World, playbook, run_all, running

#: points that a core passes from the end of the holder's step to the end of the one that waits.
POINT_COUNT = 8
#: seconds after which a core has noticed what another has written, and 15 more for its lease.
LOOK_S, LEASE_S = 0.2, 16.0


@pytest.fixture
def other(world: World) -> Iterator[World]:
    """A second core, on the same database and broker."""
    with running(world.beside("other")) as made:
        yield made


@pytest.fixture
def silent(worker: Worker) -> Worker:
    """A worker that answers only when the test says so."""
    worker.script = ()
    return worker


def submit(world: World, *hosts: str, environment: str = "", locks: bool = True) -> str:
    text = json.loads(playbook({"noop:Do": {"a": 1}, "idempotent": True}, hosts=hosts, locks=locks))
    own_id = world.core.service.submit(
        json.dumps(text | ({"environment": environment} if environment else {}))
    )
    world.run()
    return own_id


def complete(worker: Worker, own_id: str, number: int = 1) -> None:
    worker.reply({"status": "completed"}, f"{own_id}.{number}")


def statuses(world: World, *ids: str) -> list[str]:
    return [world.status(one) for one in ids]


def locks_held(world: World) -> int:
    with world.storage.begin() as unit:
        query = "SELECT (SELECT count(*) FROM lock) + (SELECT count(*) FROM lock_wait)"
        return int(unit._connection.exec_driver_sql(query).scalar_one())


def test_second_deployment_waits_and_says_for_whom_when_its_host_is_taken(
    world: World, silent: Worker
) -> None:
    first, second = submit(world, "web1"), submit(world, "web2", "web1")
    assert statuses(world, first, second) == ["running", "queued"]
    reason = world.deployment(second).state.reason
    assert "host web1" in reason
    assert first in reason
    assert silent.hosts == ["web1"]


@pytest.mark.parametrize("spelling", ["WEB1.example.org", "web1.example.org."])
def test_hosts_are_one_when_only_their_spelling_differs(world: World, silent: Worker, spelling: str) -> None:
    submit(world, "web1.example.org")
    assert world.status(submit(world, spelling)) == "queued"


def test_hosts_are_one_when_one_is_written_as_idn(world: World, silent: Worker) -> None:
    submit(world, "bücher.example.org")
    assert world.status(submit(world, "xn--bcher-kva.example.org")) == "queued"


def test_environment_is_locked_when_the_playbook_names_one(world: World, silent: Worker) -> None:
    submit(world, "web1", environment="prod")
    second = submit(world, "web2", environment="prod")
    assert "environment prod" in world.deployment(second).state.reason
    assert world.status(submit(world, "web3", environment="test")) == "running"


def test_deployment_takes_no_lock_and_waits_for_none_when_locks_are_off(world: World, silent: Worker) -> None:
    submit(world, "web1")
    ids = [submit(world, "web1", locks=False) for _ in range(2)]
    assert statuses(world, *ids) == ["running"] * 2
    assert locks_held(world) == 1


def _complete(world: World, worker: Worker, own_id: str) -> None:
    complete(worker, own_id)


def _fail(world: World, worker: Worker, own_id: str) -> None:
    worker.reply({"status": "failed"}, f"{own_id}.1")


def _cancel(world: World, worker: Worker, own_id: str) -> None:
    world.core.service.cancel(own_id)
    worker.reply({"status": "cancelled"}, f"{own_id}.1")


@pytest.mark.parametrize("end", [_complete, _fail, _cancel])
def test_next_deployment_begins_at_once_when_the_holder_ends(
    world: World, silent: Worker, end: Callable[[World, Worker, str], None]
) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    end(world, silent, first)
    world.run()
    assert world.deployment(first).is_over
    assert world.status(second) == "running", "without time having passed"
    assert world.deployment(second).state.reason == ""


def test_next_deployment_begins_at_once_when_the_holder_is_rolled_back(world: World, silent: Worker) -> None:
    step = {"noop:Do": {"a": 1}, "rollback": "noop:Undo"}
    first = world.core.service.submit(playbook(step, "noop:Fail"))
    second = submit(world, "web1")
    world.run()
    complete(silent, first)
    world.run()
    silent.reply({"status": "failed"}, f"{first}.2")
    world.run()
    assert statuses(world, first, second) == ["rolling_back", "queued"]
    complete(silent, first, 3)
    world.run()
    assert statuses(world, first, second) == ["rolled_back", "running"]


def test_deployments_begin_in_the_order_in_which_they_came(world: World, silent: Worker) -> None:
    ids = [submit(world, "web1") for _ in range(5)]
    for place, own_id in enumerate(ids):
        expected = ["completed"] * place + ["running"] + ["queued"] * (4 - place)
        assert statuses(world, *ids) == expected
        complete(silent, own_id)
        world.run()
    assert statuses(world, *ids) == ["completed"] * 5
    assert locks_held(world) == 0


def test_third_deployment_begins_when_the_first_that_waited_was_cancelled(
    world: World, silent: Worker
) -> None:
    first, second, third = (submit(world, "web1") for _ in range(3))
    world.core.service.cancel(second, reason="not today")
    world.run()
    assert statuses(world, first, second, third) == ["running", "cancelled", "queued"]
    complete(silent, first)
    world.run()
    assert world.status(third) == "running"


def test_deployment_on_other_hosts_begins_when_one_that_stood_in_its_way_is_cancelled(
    world: World, silent: Worker
) -> None:
    submit(world, "web1")
    between = submit(world, "web1", "web2")
    last = submit(world, "web2")
    assert world.status(last) == "queued", "nobody overtakes"
    assert between in world.deployment(last).state.reason
    world.core.service.cancel(between)
    world.run()
    assert world.status(last) == "running"


def test_fence_grows_with_each_holder_and_travels_with_the_step(world: World, silent: Worker) -> None:
    ids = [submit(world, "web1") for _ in range(3)]
    for own_id in ids:
        complete(silent, own_id)
        world.run()
    fences = [int((step.properties.headers or {})["x-fence"]) for step in silent.steps]
    assert fences == sorted(set(fences))
    assert fences[0] >= 1
    assert [world.deployment(one).state.fence for one in ids] == fences


def test_nobody_waits_for_ever_when_deployments_want_each_other_s_hosts(world: World, worker: Worker) -> None:
    pairs = [("web1", "web2"), ("web2", "web3"), ("web3", "web1"), ("web2", "web1"), ("web3",)]
    ids = [world.core.service.submit(playbook("noop:Do", hosts=hosts)) for hosts in pairs * 4]
    world.run()
    assert set(statuses(world, *ids)) == {"completed"}
    assert locks_held(world) == 0
    assert all(history.problems(world.storage.reader, one) == [] for one in ids)


@pytest.mark.parametrize("point", range(1, POINT_COUNT + 1))
def test_next_deployment_begins_when_the_core_dies_between_release_and_grant(
    world: World, silent: Worker, point: int
) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    world.kill()
    world.start(Fuse(point))
    complete(silent, first)
    silent.script = ({"status": "completed"},)
    world.run()
    assert not world.is_running, "every one of these points is passed"
    world.start()
    run_all(world, advance_s=LEASE_S)
    assert statuses(world, first, second) == ["completed", "completed"]
    assert locks_held(world) == 0


def test_points_between_release_and_the_end_are_all_covered(world: World, silent: Worker) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    world.kill()
    fuse = Fuse()
    world.start(fuse)
    complete(silent, first)
    silent.script = ({"status": "completed"},)
    world.run()
    assert world.status(second) == "completed"
    assert len(fuse.passed) == POINT_COUNT


def test_other_core_goes_on_with_those_that_wait_when_the_core_of_the_holder_is_gone(
    world: World, other: World, silent: Worker
) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    world.kill()
    complete(silent, first)
    run_all(other, advance_s=LOOK_S)
    assert statuses(other, first, second) == ["completed", "running"]


def test_deployments_of_two_cores_take_turns_when_they_want_one_host(
    world: World, other: World, silent: Worker
) -> None:
    ids = [submit(one, "web1") for one in (world, other) * 3]
    for place, own_id in enumerate(ids):
        run_all(world, other, advance_s=LOOK_S)
        assert statuses(world, *ids) == ["completed"] * place + ["running"] + ["queued"] * (5 - place)
        complete(silent, own_id)
    run_all(world, other, advance_s=LOOK_S)
    assert statuses(world, *ids) == ["completed"] * 6
    assert all(history.problems(world.storage.reader, one) == [] for one in ids)

"""Who has polled lately: each worker once for each type and domain, so many at most."""

from __future__ import annotations

from reworker.gateway.contract import PollData, TaskType
from reworker.gateway.pollers import REMEMBERED_S, WORKER_COUNT, Pollers
from tests.unit.gateway.kit import FROB, World

BLUE = TaskType("frob", "blue")


def test_each_worker_is_known_by_type_and_domain_the_last_first(world: World) -> None:
    for kind, worker in ((FROB, "one"), (FROB, "two"), (BLUE, "one"), (FROB, "one")):
        world.advance(1)
        world.ask(kind, worker)
    found = [(one.type, one.worker_id) for one in world.gateway.pollers()]
    assert found[:3] == [(FROB, "one"), (BLUE, "one"), (FROB, "two")]
    assert world.gateway.pollers()[0].at_s == world.clock.now().timestamp()


def test_worker_that_polls_no_more_is_forgotten() -> None:
    pollers = Pollers()
    pollers.note(FROB, "old", 5.0)
    pollers.note(FROB, "new", 6.0)
    assert pollers.known(5.5 + REMEMBERED_S) == [PollData(FROB, "new", 6.0)]
    assert pollers.known(5.0) == [PollData(FROB, "new", 6.0)]


def test_so_many_workers_are_known_at_most() -> None:
    pollers = Pollers()
    for number in range(WORKER_COUNT + 5):
        pollers.note(FROB, str(number), float(number))
    found = pollers.known(0.0)
    assert (len(found), found[0].worker_id, found[-1].worker_id) == (WORKER_COUNT, str(WORKER_COUNT + 4), "5")

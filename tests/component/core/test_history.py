"""What `verify` finds: a history that somebody has changed, or that does not lead to what is stored."""

from __future__ import annotations

import pytest

from reworker.core import history
from reworker.storage.contract import Reader
from tests.component.core.kit import Worker, World, playbook


def changed(world: World, statement: str) -> list[str]:
    own_id = world.core.service.submit(playbook("noop:A", "noop:B", hosts=("web1", "web2")))
    world.run()
    assert history.problems(world.storage.reader, own_id) == []
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(statement)
    return history.problems(world.storage.reader, own_id)


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE event SET data = '{\"attempt\": 9}' WHERE seq = 4", "event 4 is not what was written"),
        (
            "UPDATE event SET at = '2020-01-01 00:00:00.000000' WHERE seq = 2",
            "event 2 is not what was written",
        ),
        ("UPDATE event SET ignored = 'x' WHERE seq = 5", "event 5 is not what was written"),
        ("DELETE FROM event WHERE seq = 3", "event 4 is not what was written after event 2"),
        ("DELETE FROM event WHERE seq > 6", "the history ends with event 6"),
        ("DELETE FROM event", "the history ends with event 0"),
        (
            """UPDATE deployment SET snapshot = replace(snapshot, '_count":4', '_count":3')""",
            "replaying",
        ),
        ("UPDATE deployment SET snapshot = '[]'", "cannot be read"),
        ("UPDATE deployment SET snapshot = '{'", "cannot be read"),
        ("UPDATE plan SET plan = '{}'", "cannot be read"),
        ("DELETE FROM plan", "its plan is gone"),
        ("UPDATE event SET at = 'yesterday' WHERE seq = 2", "cannot be read: Invalid isoformat"),
        ("UPDATE deployment SET created_at = 'yesterday'", "cannot be read: Invalid isoformat"),
        ("UPDATE plan SET plan = 'null'", "cannot be read"),
        ("UPDATE deployment SET status = 'failed'", "its snapshot says completed, its row failed"),
    ],
)
def test_history_is_found_wrong_when_something_was_changed(
    world: World, worker: Worker, statement: str, problem: str
) -> None:
    found = changed(world, statement)
    assert problem in found[0]


def test_history_of_an_open_deployment_is_whole_at_every_moment(world: World) -> None:
    own_id = world.core.service.submit(playbook("noop:A"))
    worker = Worker(world.broker)
    reader: Reader = world.storage.reader
    moments = 0
    while world._turn():
        assert history.problems(reader, own_id) == []
        moments += 1
    assert worker.steps
    assert moments > 1

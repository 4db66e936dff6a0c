"""For whom deployments wait at this moment, whatever they were told when they last tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from reworker.cli.main import cli
from reworker.core.waiting import FREE, as_now, reasons_of
from reworker.storage.contract import LockRow
from tests.component.core.kit import Worker, World, playbook


@pytest.fixture
def silent(worker: Worker) -> Worker:
    worker.script = ()
    return worker


def submit(world: World, *hosts: str) -> str:
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}}, hosts=hosts, locks=True))
    world.run()
    return own_id


def reasons(world: World, *ids: str) -> list[str]:
    """Return what is shown of these deployments."""
    views = as_now(world.storage.reader, [world.deployment(one) for one in ids])
    assert [view.row.id for view in views] == list(ids)
    return [view.state.reason for view in views]


def line(name: str, *ids: str, first: int = 1, is_held: bool = True) -> Iterator[LockRow]:
    """Yield the holder of a lock and those who wait for it."""
    for number, own_id in enumerate(ids):
        yield LockRow(name, own_id, first + number, is_held and number == 0)


def test_last_in_line_waits_for_the_present_holder_when_the_one_it_was_told_of_has_ended(
    world: World, silent: Worker
) -> None:
    first, second, third = (submit(world, "web1") for _ in range(3))
    silent.reply({"status": "completed"}, f"{first}.1")
    world.run()
    assert first in world.deployment(third).state.reason, "only the first in line was told"
    assert reasons(world, first, second, third) == [
        "",
        "",
        f"waits for host web1, which deployment {second} holds",
    ]


@pytest.mark.parametrize("command", ["ls", "show"])
def test_present_holder_is_named_by_the_commands(world: World, silent: Worker, command: str) -> None:
    first, second, third = (submit(world, "web1") for _ in range(3))
    silent.reply({"status": "completed"}, f"{first}.1")
    world.run()
    arguments = ["--status", "queued"] if command == "ls" else [third]
    shown = CliRunner().invoke(cli, [command, *arguments, "--db", f"sqlite:///{world.path}"])
    assert f"waits for host web1, which deployment {second} holds" in shown.output


def test_one_that_is_next_waits_for_a_core_when_nobody_holds_its_locks(world: World, silent: Worker) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    with world.storage.begin() as unit:
        unit.drop_locks(first)
    assert reasons(world, second) == [FREE]


def test_reason_stays_when_the_deployment_is_not_queued(world: World, silent: Worker) -> None:
    first, second = submit(world, "web1"), submit(world, "web1")
    world.core.service.cancel(second, reason="not today")
    world.run()
    assert reasons(world, first, second) == ["", "not today"]


def test_holder_is_named_before_who_asked_first() -> None:
    rows = [*line("host:a", "b", "c", is_held=False), *line("host:b", "x", "c")]
    assert reasons_of(rows) == {
        "b": FREE,
        "c": "waits for host b, which deployment x holds",
    }


def test_who_asked_first_is_named_when_nobody_holds_anything() -> None:
    later, earlier = line("host:a", "b", "d", first=4, is_held=False), line("host:b", "c", "d", is_held=False)
    assert reasons_of([*later, *earlier])["d"] == "waits for host b, which deployment c asked for first"


def test_first_holder_by_name_is_named_when_there_are_several() -> None:
    rows = [*line("env:prod", "x", "c"), *line("host:b", "y", "c")]
    assert reasons_of(rows) == {"c": "waits for env prod, which deployment x holds"}

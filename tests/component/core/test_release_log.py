"""Log files of deployments follow the database, whatever becomes of core, disk and text."""

from __future__ import annotations

import fcntl
import gc
import json
import logging
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from reworker.core.release_lines import Line, core_log
from reworker.errors import ConfigError
from reworker.fsm.playbook import Expectation, Step
from reworker.fsm.rules import Rules
from reworker.topology import names
from tests.component.core.kit import Fuse, Worker, World, playbook, running

LOOK = Step(key="noop:Look", command="noop", subcommand="Look", title="look")
TELL = Step(key="noop:Tell", command="noop", subcommand="Tell", title="tell")
#: the line format of 2014.
FIELD = r'"((?:[^"\\]|\\.)*)"'
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \+0000 - "
    + " - ".join(
        f"{name}={FIELD}"
        for name in (
            *("app_component", "source_ip", "log_level", "playbook_id", "deployment_id", "user_id"),
            *("active_step", "deploy_phase", "message"),
        )
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "releases"


@pytest.fixture
def world(tmp_path: Path, folder: Path) -> Iterator[World]:
    made = World(tmp_path)
    rules = Rules(checks=(LOOK,), actions=(TELL,))
    made.settings = msgspec.structs.replace(made.settings, release_log_dir=str(folder), rules=rules)
    with running(made):
        yield made


@pytest.fixture
def worker(world: World) -> Worker:
    return Worker(world.broker)


def write(world: World) -> None:
    world.run()
    assert world.core.release_log is not None
    world.core.release_log.turn()


def lines(folder: Path, own_id: str) -> list[re.Match[str]]:
    found = [LINE.fullmatch(line) for line in (folder / f"FSM-{own_id}.log").read_text().splitlines()]
    assert None not in found
    return [one for one in found if one]


def told(folder: Path, own_id: str) -> list[tuple[str, str]]:
    """Return (phase, first words) of each line."""
    return [(one[8], one[9].split(":")[0]) for one in lines(folder, own_id)]


def events(world: World, own_id: str) -> int:
    return world.deployment(own_id).row.last_seq


def test_file_tells_every_event_in_the_format_and_the_phases_of_2014(
    world: World, worker: Worker, folder: Path
) -> None:
    stored = world.core.service.library.store(playbook())
    body = {"group": "web", "playbook_id": stored.id, "user_id": "ann", "source_ip": "192.0.2.7"}
    worker.send(names.EXCHANGE, names.JOB_KEY, json.dumps(body).encode())
    write(world)
    (view,) = world.core.service.deployments()
    found = lines(folder, view.row.id)
    assert {one[1] for one in found} == {"recore"}
    assert {one[2] for one in found} == {"192.0.2.7"}
    assert {one[4] for one in found} == {stored.id}
    assert {one[5] for one in found} == {view.row.id}
    assert {one[6] for one in found} == {"ann"}
    phases = list(dict.fromkeys(one[8] for one in found))
    assert phases == [
        *(
            "insert-triggers",
            "initialization",
            "pre-deploy-check",
            "execution",
            "post-deploy-check",
            "cleanup",
        )
    ]
    steps = [(one[7], one[9]) for one in found if one[8] == "execution"]
    assert steps == [
        ("noop:Do", "Sent noop:Do on web1"),
        ("noop:Do", "Started noop:Do on web1"),
        ("noop:Do", "Completed noop:Do on web1"),
    ]
    assert len(found) == view.row.last_seq + 2


def test_file_tells_of_failure_and_its_level(world: World, worker: Worker, folder: Path) -> None:
    worker.script = ({"status": "started"}, {"status": "failed", "message": 'no "disk"\nleft\\ \x1b[31m'})
    own_id = world.core.service.submit(playbook())
    write(world)
    found = lines(folder, own_id)
    failed = next(one for one in found if "Failed" in one[9])
    assert failed[3] == "ERROR"
    assert failed[9] == r"Failed noop:Look: message no \"disk\"\nleft\\ \x1b[31m"
    assert (found[-1][3], found[-1][8]) == ("ERROR", "cleanup")
    assert found[-1][9] == f"Release {own_id} failed"


def test_file_says_that_a_reply_was_not_as_expected(world: World, worker: Worker, folder: Path) -> None:
    wanted = Expectation(body={"status": "completed", "data": 1})
    world.core.service.library.keep_rules(Rules(checks=(replace(LOOK, expectation=wanted),)))
    own_id = world.core.service.submit(playbook())
    write(world)
    assert any(one[9] == "Completed noop:Look: not as expected" for one in lines(folder, own_id))


def test_file_is_whole_after_a_kill_at_any_point(world: World, worker: Worker, folder: Path) -> None:
    world.kill()
    count = 0
    for burns_at in range(1, 60):
        world.start(Fuse(burns_at))
        own_id = world.core.service.submit(playbook()) if burns_at > 2 else ""
        world.run()
        is_killed = not world.is_running
        if is_killed:
            world.start()
        else:
            count += 1
        write(world)
        world.advance(30)
        write(world)
        if own_id:
            told_more = 1 + world.deployment(own_id).is_over
            assert len(lines(folder, own_id)) == events(world, own_id) + told_more
        world.kill()
        if count:
            return
    pytest.fail("the fuse burned each time")


def test_file_goes_on_where_it_ended_when_its_last_line_was_torn(
    world: World, worker: Worker, folder: Path
) -> None:
    own_id = world.core.service.submit(playbook())
    write(world)
    path = folder / f"FSM-{own_id}.log"
    whole = path.read_bytes()
    world.kill()
    for cut in (1, 30, 150, 500, len(whole) - 10, len(whole)):
        path.write_bytes(whole[:-cut])
        world.start()
        write(world)
        rest = path.read_bytes()
        assert rest == whole or cut == 1
        world.kill()


def test_file_is_brought_up_to_date_when_another_process_ended_the_deployment(
    world: World, worker: Worker, folder: Path
) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    write(world)
    world.core.service.pause(own_id, actor="bob")
    world.clock.advance(2)
    write(world)
    assert told(folder, own_id)[-1] == ("", "Pause requested")
    assert len(lines(folder, own_id)) == events(world, own_id) + 1


def test_nothing_is_written_while_another_core_has_the_file(
    world: World, worker: Worker, folder: Path
) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    write(world)
    path = folder / f"FSM-{own_id}.log"
    before = path.read_bytes()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        worker.reply({"status": "started"}, f"{own_id}.1")
        write(world)
        assert path.read_bytes() == before
    write(world)
    assert told(folder, own_id)[-1] == ("pre-deploy-check", "Started noop")


def test_deployment_goes_on_with_one_warning_when_its_file_cannot_be_written(
    world: World, worker: Worker, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    own_ids = [world.core.service.submit(playbook()) for _ in range(3)]
    for _ in range(3):
        world.clock.advance(3)
        write(world)
    assert [world.status(one) for one in own_ids] == ["completed"] * 3
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "cannot be written" in warnings[0].getMessage()
    folder.unlink()
    world.clock.advance(3)
    write(world)
    assert all(len(lines(folder, one)) == events(world, one) + 2 for one in own_ids)


def test_files_of_others_go_on_when_one_deployment_cannot_be_read(
    world: World, worker: Worker, folder: Path
) -> None:
    spoilt = world.core.service.submit(playbook())
    world.run()
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE plan SET plan = '[]'")
    world.advance(1)
    other = world.core.service.submit(playbook())
    write(world)
    write(world)
    assert spoilt < other
    assert told(folder, other)


def test_symbolic_link_is_not_followed(world: World, worker: Worker, folder: Path, tmp_path: Path) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook())
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("mine\n")
    (folder / f"FSM-{own_id}.log").symlink_to(precious)
    write(world)
    assert precious.read_text() == "mine\n"


def test_no_file_stays_open_and_others_may_not_read_it(world: World, worker: Worker, folder: Path) -> None:
    write(world)
    gc.collect()  # files that other tests forgot must not be closed in between
    before = len(os.listdir("/proc/self/fd"))
    own_ids = [world.core.service.submit(playbook()) for _ in range(20)]
    write(world)
    assert len(os.listdir("/proc/self/fd")) == before
    for own_id in own_ids:
        assert stat.S_IMODE((folder / f"FSM-{own_id}.log").stat().st_mode) & 0o007 == 0


def test_deployment_that_ended_before_there_were_files_gets_none(
    world: World, worker: Worker, folder: Path
) -> None:
    settings, world.settings = world.settings, msgspec.structs.replace(world.settings, release_log_dir="")
    world.kill()
    with running(world):
        own_id = world.core.service.submit(playbook())
        world.run()
        assert world.status(own_id) == "completed"
    world.clock.advance(10)
    world.settings = settings
    with running(world):
        write(world)
        assert not folder.exists() or not list(folder.iterdir())


def test_line_stays_one_line_whatever_is_in_it() -> None:
    text = 'a" - deploy_phase="cleanup\n\r\t\x00\u2028\u202e\\'
    line = Line(
        at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), level="INFO", message=text, user_id=text
    ).text()
    assert line.startswith("2026-01-02 03:04:05.000006 +0000 - app_component=")
    assert line.count("\n") == 1
    found = LINE.fullmatch(line.rstrip("\n"))
    assert found
    assert found[8] == ""
    assert found[9] == r"a\" - deploy_phase=\"cleanup\n\r\t\x00\u2028\u202e" + "\\\\"


def test_log_of_the_core_goes_to_its_file_with_its_own_level(tmp_path: Path) -> None:
    path, name = tmp_path / "recore.log", logging.getLogger("reworker.test")
    console = logging.getLogger()
    before = (console.level, list(console.handlers))
    with core_log(str(path), "WARNING"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
        name.info("not this")
        name.warning('look: "%s"', "x")
        try:
            raise ValueError("why")
        except ValueError:
            name.exception("it broke")
    name.error("nor this")
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert [one and one[3] for one in found] == ["WARNING", "ERROR"]
    assert found[0]
    assert found[0][9] == r"look: \"x\""
    assert found[1]
    assert r"\nValueError: why" in found[1][9]
    assert (console.level, list(console.handlers)) == before


def test_log_of_the_core_goes_on_in_a_new_file_when_the_old_one_is_renamed(tmp_path: Path) -> None:
    path, old = tmp_path / "recore.log", tmp_path / "recore.log.1"
    with core_log(str(path), "INFO"):
        logging.getLogger("reworker.test").warning("one")
        path.rename(old)
        logging.getLogger("reworker.test").warning("two")
    assert 'message="one"' in old.read_text()
    assert 'message="two"' in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_error_says_when_the_log_of_the_core_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log_file"), core_log(str(tmp_path / "no" / "x.log"), "INFO"):
        pytest.fail("it was opened")

"""Lines of output on their way to their own file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reworker.core import recorder
from reworker.errors import StorageError
from reworker.storage.contract import LogRow
from reworker.storage.log import SqlLog
from reworker.topology import names
from tests.component.core.kit import Worker, World, playbook


@pytest.fixture
def own_id(world: World, worker: Worker) -> str:
    worker.script = ()
    made = world.core.service.submit(playbook())
    world.run()
    return made


def say(worker: Worker, text: Any, correlation_id: str | None) -> None:
    body = text if isinstance(text, bytes) else json.dumps({"message": text}).encode()
    worker.send(names.EXCHANGE, names.OUTPUT_KEY, body, correlation_id=correlation_id, app_id="noopworker")


def lines(world: World, own_id: str, **options: Any) -> list[tuple[int, int, str]]:
    found = world.core.service.log_lines(own_id, **options)
    return [(line.no, line.attempt, line.text) for line in found]


def test_lines_are_kept_in_order_with_their_attempt(world: World, worker: Worker, own_id: str) -> None:
    for text in ("one", "two"):
        say(worker, text, f"{own_id}.1")
    world.run()
    say(worker, "three", f"{own_id}.2")
    world.run()
    assert lines(world, own_id) == [(1, 1, "one"), (2, 1, "two"), (3, 2, "three")]
    assert lines(world, own_id, after_no=1) == [(2, 1, "two"), (3, 2, "three")]
    assert lines(world, own_id, after_no=1, limit=1) == [(2, 1, "two")]
    assert lines(world, "0" * 24) == []
    assert world.broker.message_count(names.OUTPUT_QUEUE) == 0


def test_numbers_go_on_when_the_core_starts_again(world: World, worker: Worker, own_id: str) -> None:
    say(worker, "one", f"{own_id}.1")
    world.run()
    world.kill()
    world.start()
    say(worker, "two", f"{own_id}.1")
    world.run()
    assert [no for no, _, _ in lines(world, own_id)] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "over\rwrite",
        "\u202egpj.exe",
        "</script>",
        "a\nb",
        "nul\0",
        "",
    ],
)
def test_line_is_kept_as_it_is_when_it_holds_odd_characters(
    world: World, worker: Worker, own_id: str, text: str
) -> None:
    say(worker, text, f"{own_id}.1")
    world.run()
    assert lines(world, own_id) == [(1, 1, text)]


def test_line_is_cut_with_a_mark_when_it_is_long(world: World, worker: Worker, own_id: str) -> None:
    say(worker, "x" * 100_000, f"{own_id}.1")
    world.run()
    ((_, _, text),) = lines(world, own_id)
    assert len(text) == 65536
    assert text.endswith("[cut]")


@pytest.mark.parametrize(
    ("body", "correlation_id"),
    [
        (b"not json", "{own_id}.1"),
        (b"[]", "{own_id}.1"),
        (b"{}", "{own_id}.1"),
        (b'{"message": 1}', "{own_id}.1"),
        (b'{"message": "x"}', "../../x"),
        (b'{"message": "x"}', None),
        (b'{"message": "' + b"x" * 50_000_000 + b'"}', "{own_id}.1"),
    ],
    ids=["text", "array", "empty", "number", "odd id", "no id", "50 MB"],
)
def test_output_goes_to_the_dead_letters_when_it_cannot_be_used(
    world: World, worker: Worker, own_id: str, body: bytes, correlation_id: str | None
) -> None:
    say(worker, body, correlation_id and correlation_id.replace("{own_id}", own_id))
    say(worker, "still here", f"{own_id}.1")
    world.run()
    assert len(world.queue(names.DEAD_QUEUE).messages()) == 1
    assert lines(world, own_id) == [(1, 1, "still here")]


def test_lines_are_dropped_with_one_mark_when_a_deployment_has_had_its_share(
    world: World, worker: Worker, own_id: str
) -> None:
    world.kill()
    world.settings = type(world.settings)(log_limit_bytes=1000)
    world.start()
    for number in range(50):
        say(worker, f"line {number} {'x' * 60}", f"{own_id}.1")
    world.run()
    found = lines(world, own_id)
    assert len(found) == 11
    assert "limit of 1000 bytes" in found[-1][2]
    assert world.core.counters.snapshot()["lines_dropped"] == 40
    world.kill()
    world.start()
    say(worker, "more", f"{own_id}.1")
    world.run()
    assert lines(world, own_id) == found


def test_flood_is_dropped_with_a_count_when_it_cannot_be_written_fast_enough(
    world: World, worker: Worker, own_id: str
) -> None:
    big = "x" * 900_000
    for _ in range(25):
        say(worker, big, f"{own_id}.1")
    world.broker.pump()
    dropped = world.core.counters.snapshot()["lines_dropped"]
    assert dropped == 25 - recorder.BUFFER_BYTES // len(json.dumps({"message": big}))
    world.run()
    marks = [text for _, attempt, text in lines(world, own_id) if attempt == 0]
    assert marks == [f"[{dropped} lines were dropped: too many at once]"]
    assert world.broker.message_count(names.OUTPUT_QUEUE) == 0


class FullDisk(SqlLog):
    """A file that cannot be written."""

    def add(self, rows: list[LogRow]) -> None:  # type: ignore[override]  # the list is what it gets
        raise StorageError("disk is full")


def test_deployments_go_on_when_lines_cannot_be_written(world: World, worker: Worker, own_id: str) -> None:
    world.kill()
    world.make_logs = FullDisk
    world.start()
    say(worker, "lost", f"{own_id}.1")
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert world.status(own_id) == "completed"
    assert world.core.counters.snapshot()["lines_dropped"] == 1
    assert world.broker.message_count(names.OUTPUT_QUEUE) == 0


def piece(worker: Worker, own_id: str, number: int, text: str) -> None:
    body = json.dumps({"message": text, "stream": "out", "piece": number}).encode()
    worker.send(names.EXCHANGE, names.OUTPUT_KEY, body, correlation_id=f"{own_id}.1", app_id="codeworker")


def test_piece_that_comes_twice_is_kept_once(world: World, worker: Worker, own_id: str) -> None:
    for number, text in ((1, "one\ntwo\n"), (1, "one\ntwo\n"), (2, "three\n")):
        piece(worker, own_id, number, text)
    world.run()
    piece(worker, own_id, 2, "three\n")
    world.run()
    world.kill()
    world.start()
    for number, text in ((1, "one\ntwo\n"), (2, "three\n"), (3, "two\n")):
        piece(worker, own_id, number, text)
    world.run()
    assert [text for _, _, text in lines(world, own_id)] == ["one", "two", "three", "two"]

"""Replies as bad as they come: nothing lost, nothing run by accident, the core goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from reworker.cli.main import cli
from reworker.core.dead_letters import REASON_HEADER
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.topology import names
from tests.component.core.kit import Worker, World, playbook

STARTED, COMPLETED, FAILED = ({"status": status} for status in ("started", "completed", "failed"))


@pytest.fixture
def own_id(world: World, worker: Worker) -> str:
    """A deployment of two steps, the first of which is with a worker that says nothing by itself."""
    worker.script = ()
    made = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    return made


def dead_letters(world: World) -> list[tuple[bytes, str]]:
    """Return (body, reason) of the dead letters."""
    found = world.queue(names.DEAD_QUEUE).messages()
    return [(one.body, str((one.properties.headers or {}).get(REASON_HEADER, ""))) for one in found]


def ignored(world: World, own_id: str) -> list[str]:
    return [event.kind for event in world.core.service.events(own_id) if event.ignored]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "JSON"),
        (b"not json", "JSON"),
        (b"[1]", "an array"),
        (b"null", "null"),
        (b"7", "a number"),
        (b'"started"', "a string"),
        (b"\xff\xfe{}", "JSON"),
        (b'{"status": "completed", "status": "failed"}', "twice"),
        (b'{"status": "completed", "data": NaN}', "JSON"),
        (b'{"status": "completed", "data": ' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
        (b'{"status": "completed", "data": "\\ud800"}', ""),
    ],
)
def test_reply_goes_to_the_dead_letters_when_it_is_no_json_object(
    world: World, worker: Worker, own_id: str, body: bytes, reason: str
) -> None:
    worker.reply(body, f"{own_id}.1")
    world.run()
    (letter,) = dead_letters(world)
    assert letter[0] == body
    assert reason in letter[1]
    assert world.core.counters.snapshot()["dead_lettered"] == 1
    worker.reply(COMPLETED, f"{own_id}.1")
    worker.reply(COMPLETED, f"{own_id}.2")
    world.run()
    assert world.status(own_id) == "completed", "the core goes on"


@pytest.mark.parametrize(
    "correlation_id",
    [
        None,
        "",
        "x" * 255,
        "../../etc/passwd",
        "0" * 24,
        "0" * 24 + ".1",
        "0" * 24 + ".0",
        "{own_id}.99",
        "{own_id}.-1",
    ],
)
def test_reply_goes_to_the_dead_letters_when_nobody_asked_for_it(
    world: World, worker: Worker, own_id: str, correlation_id: str | None
) -> None:
    worker.reply(COMPLETED, correlation_id and correlation_id.replace("{own_id}", own_id))
    world.run()
    (letter,) = dead_letters(world)
    assert "attempt" in letter[1]
    assert world.status(own_id) == "running"
    assert world.kinds(own_id) == ["Submitted", "LocksGranted", "DispatchConfirmed"]


def test_reply_goes_to_the_dead_letters_when_it_is_too_large(
    world: World, worker: Worker, own_id: str
) -> None:
    body = json.dumps({"status": "completed", "data": "x" * 17_000_000}).encode()
    worker.reply(body, f"{own_id}.1")
    world.run()
    assert [len(found) for found, _ in dead_letters(world)] == [len(body)]
    assert world.status(own_id) == "running"


def test_reply_goes_to_the_dead_letters_when_its_encoding_is_unknown(
    world: World, worker: Worker, own_id: str
) -> None:
    worker.reply(COMPLETED, f"{own_id}.1", content_encoding="gzip")
    world.run()
    assert "gzip" in dead_letters(world)[0][1]


@pytest.mark.parametrize("status", ["Started", "", 1, None, "errored", ["completed"]])
def test_step_fails_with_a_reason_when_the_status_is_unknown(
    world: World, worker: Worker, own_id: str, status: Any
) -> None:
    worker.reply({"status": status}, f"{own_id}.1")
    world.run()
    assert world.status(own_id) == "failed"
    assert "known statuses" in world.deployment(own_id).state.reason
    assert dead_letters(world) == []


def test_step_fails_with_a_reason_when_the_status_is_missing(
    world: World, worker: Worker, own_id: str
) -> None:
    worker.reply({"data": 1}, f"{own_id}.1")
    world.run()
    assert "status None" in world.deployment(own_id).state.reason


def test_reply_changes_once_when_it_comes_a_hundred_times(world: World, worker: Worker, own_id: str) -> None:
    for _ in range(100):
        worker.reply(COMPLETED, f"{own_id}.1", message_id="the same")
    world.run()
    changes = ["Submitted", "LocksGranted", "DispatchConfirmed", "ReplyCompleted", "DispatchConfirmed"]
    assert world.kinds(own_id) == changes
    assert world.core.counters.snapshot()["replies_duplicate"] == 99
    assert ignored(world, own_id) == []


def test_reply_changes_once_when_it_has_no_message_id_and_comes_again(
    world: World, worker: Worker, own_id: str
) -> None:
    for _ in range(3):
        worker.reply(STARTED, f"{own_id}.1", message_id=None)
        worker.reply(COMPLETED, f"{own_id}.1", message_id=None)
    world.run()
    assert world.kinds(own_id).count("ReplyStarted") == 1
    assert world.kinds(own_id).count("ReplyCompleted") == 1
    assert world.core.counters.snapshot()["replies_duplicate"] == 4


def test_both_replies_count_when_a_message_id_is_used_twice(
    world: World, worker: Worker, own_id: str
) -> None:
    worker.reply(STARTED, f"{own_id}.1", message_id="the same")
    worker.reply(COMPLETED, f"{own_id}.1", message_id="the same")
    world.run()
    assert world.kinds(own_id)[3:5] == ["ReplyStarted", "ReplyCompleted"]


@pytest.mark.parametrize(
    ("replies", "status", "late"),
    [
        ((COMPLETED, STARTED), "completed", ["ReplyStarted"]),
        ((STARTED, STARTED, COMPLETED), "completed", ["ReplyStarted"]),
        ((COMPLETED, FAILED), "completed", ["ReplyFailed"]),
        ((FAILED, COMPLETED), "failed", ["ReplyCompleted"]),
        ((STARTED, COMPLETED, COMPLETED), "completed", ["ReplyCompleted"]),
    ],
)
def test_late_reply_is_recorded_and_ignored(
    world: World, worker: Worker, replies: tuple[dict[str, str], ...], status: str, late: list[str]
) -> None:
    worker.script = replies
    own_id = world.core.service.submit(playbook())
    world.run()
    assert world.status(own_id) == status
    assert ignored(world, own_id) == late
    assert dead_letters(world) == []


def test_reply_is_recorded_and_ignored_when_its_deployment_was_cancelled(
    world: World, worker: Worker, own_id: str
) -> None:
    world.core.service.cancel(own_id, reason="enough")
    world.run()
    world.advance(QUEUE_TIMEOUT_S)
    assert world.status(own_id) == "cancelled"
    worker.reply(COMPLETED, f"{own_id}.1")
    world.run()
    assert ignored(world, own_id) == ["ReplyCompleted"]
    assert world.status(own_id) == "cancelled"


def test_reply_of_an_earlier_attempt_does_not_count_for_the_next(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "unknown", "reason": "?"})
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "idempotent": True}))
    world.run()
    tries = len(worker.steps)
    worker.reply(COMPLETED, f"{own_id}.1")
    world.run()
    assert tries > 1, "an idempotent step is tried again"
    assert world.status(own_id) != "completed"
    assert "ReplyCompleted" in ignored(world, own_id)


def test_good_replies_are_stored_when_one_of_their_batch_cannot_be(world: World, worker: Worker) -> None:
    worker.script = ()
    ids = [world.core.service.submit(playbook(locks=False)) for _ in range(5)]
    world.run()
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql(
            "UPDATE deployment SET snapshot = '{', version = version + 1 WHERE id = ?", (ids[2],)
        )
    for own_id in ids:
        worker.reply(COMPLETED, f"{own_id}.1")
    world.run()
    good = [one for one in ids if one != ids[2]]
    assert {world.status(one) for one in good} == {"completed"}
    (letter,) = dead_letters(world)
    assert "could not be stored" in letter[1]


def test_words_of_the_reason_are_kept_when_a_worker_of_2014_puts_them_into_data(
    world: World, worker: Worker, own_id: str
) -> None:
    worker.reply({"status": "failed", "data": "Frob failed due to missing key: 'k'."}, f"{own_id}.1")
    world.run()
    attempt = world.core.service.attempts(own_id)[0]
    assert attempt.row.message == "Frob failed due to missing key: 'k'."
    assert attempt.data == "Frob failed due to missing key: 'k'."
    assert attempt.row.worker == "noopworker"


def test_worker_is_known_when_its_reply_names_it(world: World, worker: Worker, own_id: str) -> None:
    worker.reply(STARTED, f"{own_id}.1", headers={"x-reworker": 2, "x-worker": "web7:231:0", "x-seq": 1})
    world.run()
    assert world.core.service.attempts(own_id)[0].row.worker == "web7:231:0"


def test_second_start_is_shown_when_another_worker_has_begun_a_step_again(
    world: World, worker: Worker, own_id: str
) -> None:
    for name in ("web7:231:0", "web7:402:0"):
        worker.reply(STARTED, f"{own_id}.1", headers={"x-reworker": 2, "x-worker": name, "x-seq": 1})
    world.run()
    shown = CliRunner().invoke(cli, ["show", own_id, "--db", f"sqlite:///{world.path}"])
    lines = [line.partition("noop:One  ")[2] for line in shown.output.splitlines()]
    assert lines[-2:] == [
        "started",
        "started, late or once more, by web7:402:0  (ignored: ReplyStarted: attempt 1 is started)",
    ]


def test_reply_counts_when_the_names_in_it_are_no_utf8(world: World, worker: Worker, own_id: str) -> None:
    for _ in range(2):
        worker.reply(COMPLETED, f"{own_id}.1", message_id="m\udcff", headers={"x-worker": "w\udcff\x1b[2J"})
    world.run()
    assert world.core.service.attempts(own_id)[0].row.worker == "w\\udcff\\x1b[2J"
    assert world.kinds(own_id).count("ReplyCompleted") == 1
    assert dead_letters(world) == []


def test_reason_stays_short_when_the_status_is_long(world: World, worker: Worker, own_id: str) -> None:
    worker.reply({"status": "x" * 100_000}, f"{own_id}.1")
    world.run()
    reason = world.deployment(own_id).state.reason
    assert "known statuses" in reason
    assert len(reason) < 300


@pytest.mark.parametrize("control", ["timeout", "queue_timeout"])
def test_reply_is_recorded_and_ignored_when_its_time_was_up(
    world: World, worker: Worker, control: str
) -> None:
    worker.script = (STARTED,) if control == "timeout" else ()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, control: "5s", "on_unknown": "fail"}))
    world.run()
    world.advance(60)
    assert world.status(own_id) == "failed"
    worker.reply(COMPLETED, f"{own_id}.1")
    world.run()
    assert ignored(world, own_id) == ["ReplyCompleted"]
    assert world.status(own_id) == "failed"


def test_reply_approves_nothing(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook({"approval": "go on?"}, "noop:Do"))
    world.run()
    for status in ("started", "running", "completed", "failed", "unknown", "cancelled"):
        worker.reply({"status": status}, f"{own_id}.1")
        world.run()
        assert world.status(own_id) == "waiting"
    assert worker.steps == []
    world.core.service.approve(own_id, actor="ann")
    world.run()
    assert world.status(own_id) == "completed"


def test_reply_starts_nothing_when_the_deployment_waits_for_a_lock(
    world: World, worker: Worker, own_id: str
) -> None:
    waiting_id = world.core.service.submit(playbook())
    world.run()
    worker.reply(COMPLETED, f"{waiting_id}.1")
    world.run()
    assert world.status(waiting_id) == "queued"
    assert "attempt" in dead_letters(world)[0][1]
    for number in (1, 2):
        worker.reply(COMPLETED, f"{own_id}.{number}")
        world.run()
    worker.reply(COMPLETED, f"{waiting_id}.1")
    world.run()
    assert [world.status(one) for one in (own_id, waiting_id)] == ["completed", "completed"]


def test_late_failure_changes_nothing_when_its_step_is_being_rolled_back(
    world: World, worker: Worker
) -> None:
    worker.script = ()
    steps = ({"noop:One": {}, "rollback": "noop:Undo"}, "noop:Two")
    own_id = world.core.service.submit(playbook(*steps))
    world.run()
    for number, reply in ((1, COMPLETED), (2, FAILED)):
        worker.reply(reply, f"{own_id}.{number}")
        world.run()
    assert world.status(own_id) == "rolling_back"
    for number in (1, 2):
        worker.reply(COMPLETED, f"{own_id}.{number}", message_id=f"late {number}")
        worker.reply(FAILED, f"{own_id}.{number}", message_id=f"later {number}")
    world.run()
    assert world.status(own_id) == "rolling_back"
    assert len(ignored(world, own_id)) == 4
    worker.reply(COMPLETED, f"{own_id}.3")
    world.run()
    assert world.status(own_id) == "rolled_back"


def test_reply_is_stored_under_a_key_that_fits_when_its_message_id_is_all_control_characters(
    world: World, worker: Worker, own_id: str
) -> None:
    for _ in range(2):
        worker.reply(COMPLETED, f"{own_id}.1", message_id="\x01" * 255)
        world.run()
    events = world.storage.reader.events(own_id)
    keys = [event.dedup_key for event in events if event.kind == "ReplyCompleted"]
    assert len(keys) == 1
    assert len(keys[0] or "") < 300, "the column of PostgreSQL takes no more"

"""Job requests: good ones, and malformed in every way that once killed a core or left its sender waiting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reworker.bus.contract import Delivery
from reworker.core.settings import CoreSettings
from reworker.topology import names
from tests.component.core.kit import Killed, Queue, Worker, World, playbook


@pytest.fixture
def playbook_id(world: World) -> str:
    return world.core.service.library.store(playbook(), actor="ann").id


@pytest.fixture
def answers(world: World) -> Queue:
    return world.queue("rest-1")


def ask(world: World, worker: Worker, body: Any, **properties: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    properties.setdefault("reply_to", "rest-1")
    worker.send(names.EXCHANGE, names.JOB_KEY, raw, **properties)
    world.run()


def dead(world: World) -> list[Delivery]:
    return world.queue(names.DEAD_QUEUE).messages()


def test_deployment_starts_and_its_id_is_told_when_a_job_asks(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    ask(world, worker, {"group": "web", "playbook_id": playbook_id, "user_id": "ann", "source_ip": "::1"})
    (answer,) = answers.bodies()
    assert list(answer) == ["id"], "a sender of 2014 knows this key only"
    view = world.deployment(answer["id"])
    assert (view.row.playbook_id, view.row.actor) == (playbook_id, "ann")
    assert world.status(answer["id"]) == "completed"
    assert dead(world) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        [1],
        None,
        7,
        {},
        {"group": "web"},
        {"playbook_id": "0" * 24},
        {"group": None, "playbook_id": None},
        {"group": 1, "playbook_id": 2},
        {"group": "web", "playbook_id": "0" * 24, "dynamic": [1]},
        b'{"group": "web", "group": "web", "playbook_id": "x"}',
        b"\xff",
    ],
)
def test_job_is_answered_and_set_aside_when_it_cannot_be_read(
    world: World, worker: Worker, answers: Queue, body: Any
) -> None:
    ask(world, worker, body)
    (answer,) = answers.bodies()
    assert answer["id"] is None
    assert answer["error"]
    assert len(dead(world)) == 1
    assert world.core.service.deployments() == []
    assert world.broker.message_count(names.JOB_QUEUE) == 0


@pytest.mark.parametrize("wrong_id", ["", "x", "../../etc", "0" * 24, "z" * 24, "é"])
def test_job_is_answered_with_null_when_there_is_no_such_playbook(
    world: World, worker: Worker, answers: Queue, wrong_id: str
) -> None:
    ask(world, worker, {"group": "web", "playbook_id": wrong_id})
    (answer,) = answers.bodies()
    assert answer["id"] is None
    assert "no playbook" in answer["error"]
    assert world.core.service.deployments() == []
    assert dead(world) == []


def test_job_is_refused_when_the_playbook_is_of_another_group(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    ask(world, worker, {"group": "database", "playbook_id": playbook_id})
    reason = f"no playbook '{playbook_id}' of the group 'database' is stored"
    assert answers.bodies()[0] == {"id": None, "error": reason}


def test_job_is_refused_when_a_dynamic_value_is_missing(world: World, worker: Worker, answers: Queue) -> None:
    stored = world.core.service.library.store(playbook({"noop:Do": {"dynamic": ["colour"]}}))
    ask(world, worker, {"group": "web", "playbook_id": stored.id, "dynamic": None})
    assert "colour" in answers.bodies()[0]["error"]
    ask(world, worker, {"group": "web", "playbook_id": stored.id, "dynamic": {"colour": "red"}})
    assert answers.bodies()[1]["id"] is not None


def test_job_starts_without_an_answer_when_it_has_no_reply_to(
    world: World, worker: Worker, playbook_id: str
) -> None:
    ask(world, worker, {"group": "web", "playbook_id": playbook_id}, reply_to=None)
    assert len(world.core.service.deployments()) == 1
    assert world.storage.reader.outbox_count() == 0


@pytest.mark.parametrize("wrong", [False, True])
def test_answer_has_the_correlation_id_of_the_request_when_that_had_one(
    world: World, worker: Worker, playbook_id: str, answers: Queue, wrong: bool
) -> None:
    body = {"group": "other" if wrong else "web", "playbook_id": playbook_id}
    for own in ("request-7", None, "\udcff"):
        ask(world, worker, body, correlation_id=own)
    assert [one.properties.correlation_id for one in answers.messages()] == ["request-7", None, None]
    assert [answer["id"] is None for answer in answers.bodies()] == [wrong] * 3


def test_job_is_answered_when_the_core_meets_an_error_of_its_own(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    with world.storage.begin() as unit:
        unit.save_setting("rules", b'{"checks": [{"no": "step"}]}')
    ask(world, worker, {"group": "web", "playbook_id": playbook_id})
    (answer,) = answers.bodies()
    assert answer["id"] is None
    assert "could not be handled" in answer["error"]
    assert len(dead(world)) == 1


def test_job_starts_when_the_queue_for_its_answer_is_gone(
    world: World, worker: Worker, playbook_id: str
) -> None:
    ask(world, worker, {"group": "web", "playbook_id": playbook_id}, reply_to="gone")
    (view,) = world.core.service.deployments()
    assert world.status(view.row.id) == "completed"
    assert world.core.counters.snapshot()["published_returned"] == 1
    assert world.storage.reader.outbox_count() == 0


def test_job_starts_once_when_its_message_comes_again(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    for _ in range(3):
        ask(world, worker, {"group": "web", "playbook_id": playbook_id}, message_id="job-1")
    assert len({answer["id"] for answer in answers.bodies()}) == 1
    assert len(world.core.service.deployments()) == 1


def test_two_jobs_start_when_equal_messages_without_an_id_are_both_meant(
    world: World, worker: Worker, playbook_id: str
) -> None:
    for _ in range(2):
        ask(world, worker, {"group": "web", "playbook_id": playbook_id})
    assert len(world.core.service.deployments()) == 2


def test_job_starts_once_when_the_core_dies_before_its_ack(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    raw = json.dumps({"group": "web", "playbook_id": playbook_id}).encode()
    worker.send(names.EXCHANGE, names.JOB_KEY, raw, reply_to="rest-1")
    world.broker.pump()
    world.storage.fuse.burns_at = len(world.storage.fuse.passed) + 2
    with pytest.raises(Killed, match="after commit"):
        world.core.jobs.turn()
    world.kill()
    assert world.broker.message_count(names.JOB_QUEUE) == 1
    world.start()
    assert len(world.core.service.deployments()) == 1
    world.run()
    assert len(world.core.service.deployments()) == 1
    assert len({answer["id"] for answer in answers.bodies()}) == 1


def test_job_is_refused_when_it_is_too_large(world: World, worker: Worker, answers: Queue) -> None:
    ask(world, worker, {"group": "web", "playbook_id": "x" * 17_000_000})
    assert "limit" in answers.bodies()[0]["error"]
    assert len(dead(world)) == 1


def test_job_starts_when_the_names_in_it_are_no_utf8(
    world: World, worker: Worker, playbook_id: str, answers: Queue
) -> None:
    for _ in range(2):
        body = {"group": "web", "playbook_id": playbook_id}
        ask(world, worker, body, app_id="a\udcff\x1b[2J", message_id="\udcff")
    first, second = answers.bodies()
    assert first == second
    assert world.deployment(first["id"]).row.actor == "a\\udcff\\x1b[2J"


def test_job_is_set_aside_when_its_answer_has_nowhere_to_go(
    world: World, worker: Worker, playbook_id: str
) -> None:
    ask(world, worker, {"group": "web", "playbook_id": playbook_id}, reply_to="\udcff")
    assert len(dead(world)) == 1
    assert world.core.service.deployments() == []


@pytest.mark.parametrize("user", [None, "worker-a"])
def test_job_starts_nothing_when_its_sender_is_not_accepted(
    world: World, worker: Worker, playbook_id: str, answers: Queue, user: str | None
) -> None:
    world.kill()
    world.settings = CoreSettings(accept_jobs_from=("rest", "cron"))
    world.start()
    ask(world, worker, {"group": "web", "playbook_id": playbook_id}, user_id=user)
    (answer,) = answers.bodies()
    assert answer["id"] is None
    assert "name cron, rest as their user_id" in answer["error"]
    assert len(dead(world)) == 1
    assert world.core.service.deployments() == []
    ask(world, worker, {"group": "web", "playbook_id": playbook_id}, user_id="rest")
    assert world.status(answers.bodies()[-1]["id"]) == "completed"

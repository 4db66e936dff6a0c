"""What people and programs ask of the core, also from another process."""

from __future__ import annotations

import pytest

from reworker.core import history
from reworker.core.batch import Applied
from reworker.core.publisher import POLL_S
from reworker.core.service import RACE_COUNT, Service
from reworker.errors import (
    ConfigError,
    DeploymentNotFound,
    NotResumable,
    PlaybookInvalid,
    PlaybookNotFound,
    StaleVersion,
    StorageError,
)
from reworker.fsm.events import Decision
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.storage.log import SqlLog, log_path
from reworker.storage.sql import SqlStorage
from tests.component.core.kit import Worker, World, playbook


def test_same_deployment_is_returned_when_the_idempotency_key_is_used_again(
    world: World, worker: Worker
) -> None:
    ids = {world.core.service.submit(playbook(), idempotency_key="k") for _ in range(5)}
    other = world.core.service.submit(playbook(), idempotency_key="l")
    world.run()
    assert len(ids) == 1
    assert other not in ids
    assert len(worker.steps) == 2


@pytest.mark.parametrize("key", ["resume|{}", "job|m-1|{}", "key|k", "k"])
def test_given_key_starts_a_deployment_when_only_one_of_ours_is_the_same(
    world: World, worker: Worker, key: str
) -> None:
    first = world.core.service.submit(playbook(), idempotency_key="k")
    world.run()
    worker.script = ({"status": "failed"},)
    failed = world.core.service.submit(playbook())
    world.run()
    continued = world.core.service.retry(failed)
    given = world.core.service.submit(playbook(), idempotency_key=key.format(failed))
    assert (given == first) is (key == "k")
    assert given != continued
    with pytest.raises(NotResumable, match=continued):
        world.core.service.retry(failed)


def test_key_is_found_when_it_was_stored_before_kinds_were_told_apart(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook(), idempotency_key="release 7")
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE deployment SET idempotency_key = 'release 7'")
    assert world.core.service.submit(playbook(), idempotency_key="release 7") == own_id


def races(world: World, count: int) -> None:
    """Let another transaction be faster so often."""
    faults = [StaleVersion("deadlock detected")] * count

    def fault() -> None:
        if faults:
            raise faults.pop()

    world.storage.fault = fault


def test_request_is_tried_again_when_another_transaction_was_faster(world: World, worker: Worker) -> None:
    worker.script = ()
    races(world, RACE_COUNT)
    own_id = world.core.service.submit(playbook())
    assert [one.row.id for one in world.core.service.deployments()] == [own_id]
    races(world, RACE_COUNT)
    assert world.core.service.cancel(own_id).applied is Applied.CHANGED
    races(world, RACE_COUNT + 1)
    with pytest.raises(StaleVersion, match="deadlock"):
        world.core.service.submit(playbook())


def test_key_is_refused_when_it_is_too_long(world: World) -> None:
    with pytest.raises(ConfigError, match="256 characters"):
        world.core.service.submit(playbook(), idempotency_key="k" * 256)


@pytest.mark.parametrize("text", ["\udcff", "a\ud800"])
def test_request_is_refused_in_plain_words_when_its_text_is_no_utf8(world: World, text: str) -> None:
    service = world.core.service
    for ask in (
        lambda: service.submit(playbook(), idempotency_key=text),
        lambda: service.submit(playbook(), actor=text),
        lambda: service.deployment(text),
        lambda: service.cancel(text),
        lambda: service.deployments(status=text),
        lambda: service.plan(text),
        lambda: service.events(text),
        lambda: service.attempts(text),
        lambda: service.log_lines(text),
        lambda: service.library.playbook(text),
    ):
        with pytest.raises(StorageError, match="is no UTF-8"):
            ask()
    assert service.deployments() == []


def test_nothing_is_started_when_the_playbook_is_wrong(world: World) -> None:
    with pytest.raises(PlaybookInvalid):
        world.core.service.submit("group: web\n")
    assert world.core.service.deployments() == []


def test_nothing_is_started_when_a_step_is_too_large_to_be_sent(world: World) -> None:
    text = playbook("noop:Do", {"noop:Do": {"dynamic": ["blob"]}})
    with pytest.raises(PlaybookInvalid, match=r"execution\[0\].steps\[0\].*1048576"):
        world.core.service.submit(text, {"blob": "x" * 1_100_000})
    assert world.core.service.deployments() == []


def test_running_deployment_keeps_its_plan_when_the_playbook_changes(world: World, worker: Worker) -> None:
    service = world.core.service
    first = service.library.store(playbook("noop:One"))
    own_id = service.submit(service.library.playbook(first.id).text)
    second = service.library.store(playbook("noop:Two"), playbook_id=first.id)
    world.run()
    assert (first.version, second.version) == (1, 2)
    assert service.library.playbook(first.id) == second
    assert service.library.playbook(first.id, version=1) == first
    assert [one.id for one in service.library.playbooks()] == [first.id]
    assert service.library.playbooks(group="other") == []
    assert [step.key for step in service.plan(own_id).steps()] == ["noop:One"]


def test_version_stays_when_the_same_text_is_stored_again(world: World) -> None:
    stored = world.core.service.library.store(playbook())
    assert world.core.service.library.store(playbook(), playbook_id=stored.id) == stored


def test_playbook_is_not_found_when_there_is_none(world: World) -> None:
    with pytest.raises(PlaybookNotFound):
        world.core.service.library.store(playbook(), playbook_id="0" * 24)
    with pytest.raises(PlaybookNotFound):
        world.core.service.library.playbook("0" * 24)


def test_deployment_is_not_found_when_there_is_none(world: World) -> None:
    service = world.core.service
    for call in (service.deployment, service.cancel, service.pause, service.resume, service.plan):
        with pytest.raises(DeploymentNotFound):
            call("0" * 24)


def test_deployments_are_listed_newest_first_in_pages(world: World, worker: Worker) -> None:
    ids = []
    for _ in range(5):
        ids.append(world.core.service.submit(playbook()))
        world.advance(1)
    newest = world.core.service.deployments(limit=2)
    assert [view.row.id for view in newest] == [ids[4], ids[3]]
    older = world.core.service.deployments(limit=-5, before_id=newest[-1].row.id)
    assert [view.row.id for view in older] == [ids[2]]
    assert len(world.core.service.deployments(limit=10**9, status="completed")) == 5
    assert world.core.service.deployments(status="failed") == []


def test_cancel_ends_a_deployment_when_its_worker_obeys(world: World, worker: Worker) -> None:
    worker.script = ()
    control = world.queue("cancelled", ("re.control", "cancel.#"))
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    assert world.core.service.cancel(own_id, actor="ann", reason="wrong day").applied is Applied.CHANGED
    world.run()
    assert control.bodies() == [{"attempt": f"{own_id}.1", "reason": "wrong day"}]
    worker.reply({"status": "cancelled"}, f"{own_id}.1")
    world.run()
    assert world.status(own_id) == "cancelled"
    assert world.core.service.events(own_id)[-2].actor == "ann"
    again = world.core.service.cancel(own_id)
    assert again.applied is Applied.IGNORED
    assert "already ended" in again.reason


def test_nothing_new_is_dispatched_when_paused_until_resumed(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    world.core.service.pause(own_id, actor="ann")
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert (world.status(own_id), len(worker.steps)) == ("paused", 1)
    world.core.service.resume(own_id)
    world.run()
    assert (world.status(own_id), len(worker.steps)) == ("running", 2)


def test_decision_is_ignored_when_nothing_is_in_doubt(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    for attempt in (1, 99):
        assert world.core.service.decide(own_id, attempt, Decision.RETRY).applied is Applied.IGNORED


def test_requests_are_carried_out_when_they_come_from_another_process(world: World, worker: Worker) -> None:
    worker.script = ()
    storage, logs = SqlStorage(world.path), SqlLog(log_path(world.path))
    elsewhere = Service(storage, logs, world.clock)
    own_id = elsewhere.submit(playbook())
    world.advance(0.1)
    assert len(worker.steps) == 1, "noticed without waiting for the next poll"
    elsewhere.cancel(own_id)
    world.advance(POLL_S)
    assert world.core.counters.snapshot()["published_returned"] == 1, "nobody listens for cancels here"
    world.advance(QUEUE_TIMEOUT_S)
    assert elsewhere.deployment(own_id).is_over
    assert world.status(own_id) == "cancelled"
    storage.close()
    logs.close()


def test_history_is_found_broken_when_an_event_was_changed(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("UPDATE event SET actor = 'eve' WHERE seq = 3")
    assert history.problems(world.storage.reader, own_id) == [
        "event 3 is not what was written after event 2",
    ]


def test_history_is_found_broken_when_an_event_is_missing(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook())
    world.run()
    with world.storage.begin() as unit:
        unit._connection.exec_driver_sql("DELETE FROM event WHERE seq = 5")
    assert "the history ends with event 4" in history.problems(world.storage.reader, own_id)[-1]


def test_steps_go_to_the_core_s_exchange_when_submitted_by_another_process(world: World) -> None:
    world.kill()
    world.settings = type(world.settings)(exchange="blue")
    world.start()
    inbox = world.queue("worker.noop", ("blue", "worker.noop"))
    storage, logs = SqlStorage(world.path), SqlLog(log_path(world.path))
    Service(storage, logs, world.clock).submit(playbook())
    world.advance(0.1)
    assert len(inbox.messages()) == 1
    storage.close()
    logs.close()

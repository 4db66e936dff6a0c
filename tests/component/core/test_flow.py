"""Deployments from submit to their end."""

from __future__ import annotations

import json

import pytest

from reworker.core import history
from reworker.core.batch import Applied
from reworker.fsm.events import Decision
from reworker.fsm.playbook import QUEUE_TIMEOUT_S
from reworker.topology import names
from tests.component.core.kit import Worker, World, playbook

STEP_EVENTS = ["DispatchConfirmed", "ReplyStarted", "ReplyCompleted"]


def test_deployment_completes_when_every_step_does(world: World, worker: Worker) -> None:
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two", hosts=("a", "b")), actor="ann")
    world.run()
    view = world.deployment(own_id)
    assert world.status(own_id) == "completed"
    assert view.is_over
    assert view.row.ended_at == world.clock.now()
    assert worker.hosts == ["a", "a", "b", "b"]
    assert world.kinds(own_id) == ["Submitted", "LocksGranted", *STEP_EVENTS * 4]
    assert history.problems(world.storage.reader, own_id) == []
    assert world.storage.reader.outbox_count() == 0


def test_step_message_speaks_both_levels_when_dispatched(world: World, worker: Worker) -> None:
    step = {"noop:Do": {"size": 3, "dynamic": ["colour"], "notify": {}}, "timeout": "5m", "idempotent": True}
    own_id = world.core.service.submit(playbook(step), {"colour": "red"})
    world.run()
    message = worker.steps[0]
    body = json.loads(message.body)
    assert body["group"] == "web"
    assert body["dynamic"] == {"colour": "red"}
    parameters = body["parameters"]
    assert {key: parameters[key] for key in ("size", "command", "subcommand", "hosts")} == {
        "size": 3,
        "command": "noop",
        "subcommand": "Do",
        "hosts": ["web1"],
    }
    properties = message.properties
    assert (message.exchange, message.routing_key) == (names.EXCHANGE, "worker.noop")
    assert properties.correlation_id == properties.message_id == f"{own_id}.1"
    assert properties.reply_to == names.REPLY_QUEUE
    headers = properties.headers or {}
    assert headers["x-reworker"] == 2
    assert headers["x-idempotent"] is True
    assert headers["x-idempotency-key"] == f"{own_id}:0"
    assert headers["x-deadline-s"] == "300.0"


def test_step_message_says_until_when_it_may_begin_when_it_is_published(world: World, worker: Worker) -> None:
    world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "20s"}))
    world.run()
    headers = worker.steps[0].properties.headers or {}
    assert headers["x-queue-timeout-s"] == "20.0"
    assert headers["x-not-after"] == str(world.clock.now().timestamp() + 20)


def test_deployment_fails_with_host_step_and_reason_when_a_step_fails(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "failed", "data": "disk is full"})
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two", hosts=("a", "b")))
    world.run()
    failure = world.deployment(own_id).state.failure
    assert world.status(own_id) == "failed"
    assert failure is not None
    assert (failure.host, failure.step, failure.reason) == ("a", "noop:One", "disk is full")
    assert len(worker.steps) == 1


def test_step_counts_as_started_when_its_first_reply_is_completed(world: World, worker: Worker) -> None:
    worker.script = ({"status": "completed"}, {"status": "completed"})
    own_id = world.core.service.submit(playbook("noop:One", "noop:Two"))
    world.run()
    assert world.status(own_id) == "completed"
    late = [event for event in world.core.service.events(own_id) if event.ignored]
    assert len(late) == 2, "the second `completed` of each step is recorded, and changes nothing"


def test_deployment_fails_with_the_routing_key_when_no_queue_is_bound(world: World) -> None:
    own_id = world.core.service.submit(playbook("ghost:Do"))
    world.run()
    failure = world.deployment(own_id).state.failure
    assert world.status(own_id) == "failed"
    assert failure is not None
    assert "worker.ghost" in failure.reason
    assert world.core.service.attempts(own_id)[0].row.status == "unroutable"
    assert world.storage.reader.outbox_count() == 0


def test_deployment_fails_when_no_worker_takes_the_step_in_time(world: World, worker: Worker) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "20s"}))
    world.run()
    world.advance(19)
    assert world.status(own_id) == "running"
    world.advance(2)
    assert world.status(own_id) == "failed"
    assert "no worker took it" in world.deployment(own_id).state.reason


def test_attempt_is_in_doubt_when_its_run_time_is_over(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"},)
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "timeout": "30s"}))
    world.run()
    world.advance(29)
    assert world.status(own_id) == "running"
    world.advance(2)
    assert world.status(own_id) == "waiting"
    result = world.core.service.decide(own_id, 1, Decision.COMPLETE, actor="ann")
    assert result.applied is Applied.CHANGED
    assert world.status(own_id) == "completed"


def test_attempt_is_in_doubt_when_its_heartbeat_falls_silent(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "running", "percent": 10})
    own_id = world.core.service.submit(playbook())
    world.run()
    for percent in (20, 30):
        world.clock.advance(50)
        worker.reply({"status": "running", "percent": percent}, f"{own_id}.1")
        world.run()
    assert world.core.service.attempts(own_id)[0].row.percent == 30
    assert world.kinds(own_id).count("ReplyRunning") == 1, "a sign of life is not history"
    world.advance(61)
    assert world.status(own_id) == "waiting"
    assert history.problems(world.storage.reader, own_id) == []


def test_attempt_is_not_lost_while_its_next_try_waits_at_the_broker(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "running", "percent": 10})
    own_id = world.core.service.submit(playbook())
    world.run()
    worker.reply({"status": "running", "again_in_s": 300, "message": "try 1 ended"}, f"{own_id}.1")
    world.run()
    world.advance(300 + QUEUE_TIMEOUT_S + 59)
    assert world.status(own_id) == "running", "nobody beats while the message lies in a queue"
    worker.reply({"status": "running", "message": "try 2"}, f"{own_id}.1")
    world.run()
    world.advance(61)
    assert world.status(own_id) == "waiting", "from then on somebody does"
    assert world.kinds(own_id).count("ReplyRunning") == 3, "the end of a try is history"
    assert history.problems(world.storage.reader, own_id) == []


def test_silence_is_no_doubt_while_the_broker_is_away(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "running", "percent": 10})
    own_id = world.core.service.submit(playbook(), unattended=True)
    world.run()
    world.broker.stop()
    world.advance(300)
    assert world.status(own_id) == "running"
    world.broker.start()
    world.advance(20)
    worker.reply({"status": "completed"}, f"{own_id}.1")
    world.run()
    assert world.status(own_id) == "completed"
    assert history.problems(world.storage.reader, own_id) == []


def test_silence_is_a_doubt_when_the_broker_is_back_and_the_worker_is_not(
    world: World, worker: Worker
) -> None:
    worker.script = ({"status": "started"}, {"status": "running", "percent": 10})
    own_id = world.core.service.submit(playbook())
    world.run()
    world.broker.stop()
    world.advance(300)
    world.broker.start()
    world.advance(80)
    assert world.status(own_id) == "waiting"


def test_deployment_fails_when_in_doubt_and_unattended(world: World, worker: Worker) -> None:
    worker.script = ({"status": "started"}, {"status": "unknown", "reason": "lost the disk"})
    own_id = world.core.service.submit(playbook(), unattended=True)
    world.run()
    assert world.status(own_id) == "failed"
    assert "lost the disk" in world.deployment(own_id).state.reason


def test_notifications_reach_their_transport_when_a_step_asks_for_them(world: World, worker: Worker) -> None:
    inbox = world.queue("worker.ircnotify", (names.EXCHANGE, "notify.irc"))
    step = {"noop:Do": {"notify": {"started": {"irc": ["#ops"]}, "completed": {"irc": ["#ops", "ann"]}}}}
    own_id = world.core.service.submit(playbook(step))
    world.run()
    notes = inbox.bodies()
    assert [note["phase"] for note in notes] == ["started", "completed"]
    assert notes[1]["target"] == ["#ops", "ann"]
    assert own_id in notes[0]["message"]


def test_deployment_goes_on_when_nobody_takes_its_notifications(world: World, worker: Worker) -> None:
    step = {"noop:Do": {"notify": {"started": {"carrier-pigeon": ["coop"]}}}}
    own_id = world.core.service.submit(playbook(step))
    world.run()
    assert world.status(own_id) == "completed"
    assert world.core.counters.snapshot()["published_returned"] == 1
    assert world.storage.reader.outbox_count() == 0


def test_deployments_do_not_disturb_each_other_when_many_run(world: World, worker: Worker) -> None:
    ids = [world.core.service.submit(playbook("noop:One", "noop:Two")) for _ in range(10)]
    world.run()
    assert {world.status(one) for one in ids} == {"completed"}
    assert all(history.problems(world.storage.reader, one) == [] for one in ids)
    assert len(worker.steps) == 20


def test_publishes_stay_within_the_window_when_many_are_waiting(world: World, worker: Worker) -> None:
    world.kill()
    world.settings = type(world.settings)(window=5)
    world.start()
    world.broker.hold_confirms()
    step = {"noop:Do": {"a": 1}, "idempotent": True}
    ids = [world.core.service.submit(playbook(step, locks=False)) for _ in range(12)]
    worker.script = ()
    world.run()
    assert world.core.health().in_flight_count == 5
    world.broker.hold_confirms(False)
    world.run()
    assert len(worker.steps) == 12
    assert {world.status(one) for one in ids} == {"running"}


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
def test_timers_keep_their_time_when_the_clock_is_set(world: World, worker: Worker, jump_s: float) -> None:
    worker.script = ()
    own_id = world.core.service.submit(playbook({"noop:Do": {"a": 1}, "queue_timeout": "60s"}))
    world.run()
    world.clock.jump(jump_s)
    world.advance(50)
    assert world.status(own_id) == "running"
    world.advance(11)
    assert world.status(own_id) == "failed"


def test_claims_keep_their_time_when_the_clock_is_set(world: World, worker: Worker) -> None:
    worker.script = ()
    world.broker.hold_confirms()
    own_id = world.core.service.submit(playbook())
    world.run()
    world.kill()
    world.broker.hold_confirms(False)
    world.start()
    world.clock.jump(3600)
    world.advance(1)
    assert world.status(own_id) == "running"
    world.advance(16)
    world.advance(1)  # a reply that lies in the queue since then would say more
    assert world.status(own_id) == "waiting"


def test_snapshot_stays_small_when_the_plan_is_long(world: World, worker: Worker) -> None:
    def largest_snapshot(step_count: int) -> int:
        worker.script = ()
        own_id = world.core.service.submit(playbook(*["noop:Do"] * step_count, locks=False))
        world.run()
        for number in range(1, step_count // 2):
            worker.reply({"status": "completed"}, f"{own_id}.{number}")
            world.run()
        return len(world.deployment(own_id).row.snapshot)

    assert largest_snapshot(40) - largest_snapshot(10) < 10


def test_rows_grow_with_the_steps_and_no_faster(world: World, worker: Worker) -> None:
    def row_counts(step_count: int) -> tuple[int, int]:
        own_id = world.core.service.submit(playbook(*["noop:Do"] * step_count))
        world.run()
        return len(world.core.service.events(own_id)), len(world.core.service.attempts(own_id))

    assert row_counts(10) == (32, 10)
    assert row_counts(20) == (62, 20)

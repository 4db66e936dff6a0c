"""Redelivered, repeated, cancelled and given back: what runs, and what is only answered."""

from __future__ import annotations

from typing import Any

import pytest

from replugin.noopworker import NoopWorker
from reworker import execution
from reworker.bus.contract import TopologySpec, Verdict
from reworker.errors import (
    ConnectionLost,
    JobRetry,
)
from reworker.jobs.adoption import is_adopted
from reworker.jobs.attempt import Attempt
from reworker.jobs.losses import MAX_LOSSES
from reworker.jobs.returning import LOST_HEADER, TRIES_HEADER
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import FakeClock, Harness
from reworker.testing.harness import CORRELATION_ID, RecordingBus
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Worker
from tests.unit.worker.kit import IDEMPOTENT, LEVEL_2, StepWorker, body, raising, step_body

# redelivery


def redelivered(worker_cls: type[Worker], message: dict[str, Any], headers: Any, **options: Any) -> Any:
    """Run a redelivery, and the copy with the count of lost workers that it is sent round as, if it is."""
    harness = Harness(worker_cls, **options)
    transcript = harness.run(harness.delivery(message, headers=headers, redelivered=True))
    copies = [one for one in transcript.sent if "x-lost" in (one.properties.headers or {})]
    return harness.run(harness.delivery_of(copies[0])) if copies else transcript


def test_redelivery_is_unknown_when_level_2_and_not_idempotent() -> None:
    transcript = redelivered(StepWorker, step_body(), LEVEL_2)
    assert (transcript.statuses, transcript.settled) == (["unknown"], "ack")
    assert "lost" in transcript.final["reason"]


@pytest.mark.parametrize(
    ("message", "headers"),
    [(step_body(), IDEMPOTENT), (step_body("Again"), LEVEL_2), (step_body("Again"), None)],
)
def test_redelivery_runs_when_idempotent(message: dict[str, Any], headers: Any) -> None:
    assert redelivered(StepWorker, message, headers).statuses == ["started", "completed"]


@pytest.mark.parametrize(("subcommand", "status"), [("Anything", "completed"), ("Fail", "failed")])
def test_redelivery_runs_when_the_step_that_takes_every_subcommand_is_idempotent(
    subcommand: str, status: str
) -> None:
    assert redelivered(NoopWorker, step_body(subcommand), LEVEL_2).statuses == ["started", status]


@pytest.mark.parametrize("is_redelivered", [False, True])
def test_next_try_runs_when_the_one_before_has_not_been_settled_yet(is_redelivered: bool) -> None:
    """It was acknowledged with the try before, and never done."""
    harness = Harness(StepWorker)
    first = Attempt(harness.station, harness.delivery(step_body("Again"), headers=LEVEL_2))
    assert execution.decode(harness.worker, first)
    assert execution.start(harness.worker, first)
    headers = {**LEVEL_2, TRIES_HEADER: 1, LOST_HEADER: 1} if is_redelivered else {**LEVEL_2, TRIES_HEADER: 1}
    second = harness.delivery(step_body("Again"), headers=headers)
    assert not is_adopted(harness.station, second)
    assert harness.run(second).final["status"] == "completed"
    stale = harness.delivery(step_body("Again"), headers=LEVEL_2, redelivered=True)
    assert is_adopted(harness.station, stale) is False
    first.finish()
    assert not harness.station.open_attempts


def test_start_of_a_redelivery_has_an_id_of_its_own() -> None:
    first = Harness(StepWorker).run(Harness(StepWorker).delivery(step_body("Again"), headers=LEVEL_2))
    again = redelivered(StepWorker, step_body("Again"), LEVEL_2)
    ids = [[one.properties.message_id for one in run.sent] for run in (first, again)]
    assert ids[0][0] != ids[1][0], "or the core would take it for a copy"
    assert ids[0][1] == ids[1][1]


def test_redelivery_fails_when_level_1() -> None:
    transcript = redelivered(StepWorker, step_body(), None)
    assert transcript.final == {"status": "failed", "message": "worker was lost while running this step"}


def test_redelivery_runs_when_level_1_and_told_to() -> None:
    assert redelivered(StepWorker, step_body(), None, on_redelivery="run").statuses == [
        "started",
        "completed",
    ]


def test_redelivered_message_is_dead_lettered_when_it_killed_three_workers() -> None:
    harness = Harness(StepWorker)
    make = lambda: harness.delivery(step_body("Again"), headers=LEVEL_2, redelivered=True)  # noqa: E731  used twice and short
    for _ in range(MAX_LOSSES - 1):
        harness.station.ledger.count_loss(CORRELATION_ID)
    transcript = harness.run(make())
    assert (transcript.statuses, transcript.settled) == (["failed"], "dead letter")
    assert "killed its worker 3 times" in transcript.message
    assert transcript.refused == "killed its worker 3 times"


def test_stored_reply_is_sent_again_with_its_id_when_the_attempt_has_finished() -> None:
    harness = Harness(StepWorker)
    first = harness.run(harness.delivery(step_body(value=7), headers=LEVEL_2))
    again = harness.run(harness.delivery(step_body(value=7), headers=LEVEL_2, redelivered=True))
    assert harness.worker.runs == 1  # type: ignore[attr-defined]  # of StepWorker
    assert (again.replies, again.settled) == (first.replies[-1:], "ack")
    assert again.sent[0].properties.message_id == first.sent[-1].properties.message_id


def test_step_runs_once_when_the_same_message_comes_100_times() -> None:
    harness = Harness(StepWorker)
    transcripts = [harness.run(harness.delivery(step_body(), headers=LEVEL_2)) for _ in range(100)]
    assert harness.worker.runs == 1  # type: ignore[attr-defined]  # of StepWorker
    assert {one.settled for one in transcripts} == {"ack"}
    finals = {one.sent[-1].properties.message_id for one in transcripts}
    assert finals == {f"{CORRELATION_ID}:completed"}


def test_every_message_runs_when_a_core_of_2014_repeats_a_step() -> None:
    harness = Harness(StepWorker)
    for _ in range(3):
        assert harness.run(harness.delivery(step_body())).statuses == ["started", "completed"]
    assert harness.worker.runs == 3  # type: ignore[attr-defined]  # of StepWorker


def test_redelivery_is_only_settled_when_a_level_1_step_was_answered() -> None:
    harness = Harness(StepWorker)
    harness.run(harness.delivery(step_body()))
    again = harness.run(harness.delivery(step_body(), redelivered=True))
    assert (again.sent, again.settled) == ([], "ack")


@pytest.mark.parametrize("headers", [LEVEL_2, None])
def test_redelivery_is_settled_with_the_first_when_the_attempt_still_runs(headers: Any) -> None:
    harness = Harness(StepWorker)
    harness.bus.hold_confirms()
    first = harness.delivery(step_body(), headers=headers)
    harness.run(first)
    second = harness.delivery(step_body(), headers=headers, redelivered=True)
    assert harness.run(second).sent == []
    assert (first.verdict, second.verdict) == (None, None)
    harness.bus.release_confirms()
    assert (first.verdict, second.verdict) == (Verdict.ACK, Verdict.ACK)
    assert harness.station.open_attempts == {}


def test_level_2_step_runs_when_it_has_no_correlation_id() -> None:
    harness = Harness(StepWorker)
    for _ in range(2):
        delivery = harness.delivery(step_body(), headers=LEVEL_2, correlation_id=None)
        assert harness.run(delivery).statuses == ["started", "completed"]


@pytest.mark.parametrize(("headers", "status"), [(LEVEL_2, "cancelled"), (None, "failed")])
def test_cancelled_attempt_is_refused_when_it_arrives(headers: Any, status: str) -> None:
    harness = Harness(StepWorker)
    harness.station.cancellations.add(CORRELATION_ID, "not needed")
    transcript = harness.run(harness.delivery(step_body(), headers=headers))
    assert (transcript.statuses, transcript.settled) == ([status], "ack")
    assert "not needed" in str(transcript.final)


# giving back and trying again


def test_step_is_published_anew_when_rejected_with_requeue() -> None:
    harness = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    transcript = harness.run(harness.delivery(body("give_back"), headers=LEVEL_2))
    copy = transcript.sent[0]
    assert (copy.exchange, copy.routing_key, transcript.settled) == ("", "worker.scriptedworker", "ack")
    assert (copy.properties.headers or {})["x-returns"] == 1
    assert copy.properties.correlation_id == CORRELATION_ID


def test_step_is_requeued_when_its_copy_is_not_taken() -> None:
    harness = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    harness.bus.gone.add("worker.scriptedworker")
    assert harness.run(harness.delivery(body("give_back"))).settled == "requeue"


def test_step_is_dead_lettered_when_given_back_too_often() -> None:
    harness = Harness(ScriptedWorker)
    headers = {**LEVEL_2, "x-returns": execution.MAX_GIVEN_BACK}
    transcript = harness.run(harness.delivery(body("give_back"), headers=headers))
    assert (transcript.statuses, transcript.settled) == (["failed"], "dead letter")


def test_step_waits_at_the_broker_when_it_asks_for_a_later_try() -> None:
    harness = Harness(StepWorker)
    harness.worker.error = JobRetry(7, "lock is taken")  # type: ignore[attr-defined]  # of StepWorker
    transcript = harness.run(harness.delivery(step_body(), headers=LEVEL_2))
    queue = harness.bus.declared[0].queues[0]
    assert (queue.name, queue.arguments["x-message-ttl"]) == ("worker.stepworker.retry.10s", 10_000)
    assert transcript.sent[-1].routing_key == queue.name
    assert (transcript.statuses, transcript.settled) == (["started", "running"], "ack")
    assert "lock is taken" in transcript.replies[-1]["message"]


def test_step_goes_to_the_end_of_its_queue_when_it_asks_for_another_try_at_once() -> None:
    transcript = raising(JobRetry(), headers=None)
    assert transcript.sent[-1].routing_key == "worker.stepworker"
    assert transcript.statuses == ["started"]


def test_step_fails_when_it_asks_for_too_many_tries() -> None:
    transcript = raising(JobRetry(message="no luck"), headers={**LEVEL_2, "x-tries": 19})
    assert transcript.message == "gave up after 20 tries: no luck"


def test_step_fails_when_the_broker_does_not_let_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_bus: RecordingBus, _topology: TopologySpec, *_more: Any) -> None:
        raise ConnectionLost("gone")

    monkeypatch.setattr(RecordingBus, "declare", refuse)
    assert "could not be tried again: gone" in raising(JobRetry(5)).message


# given up by the core


@pytest.mark.parametrize(("late_s", "statuses"), [(-0.5, ["started", "completed"]), (0.5, ["cancelled"])])
def test_step_is_refused_when_it_comes_after_its_queue_timeout(late_s: float, statuses: list[str]) -> None:
    clock = FakeClock()
    headers = headers_of_step(StepHeaders(not_after_s=clock.now().timestamp() - late_s))
    harness = Harness(StepWorker, clock=clock)
    transcript = harness.run(harness.delivery(step_body(), headers=headers))
    assert (transcript.statuses, transcript.settled) == (statuses, "ack")


@pytest.mark.parametrize(("late_s", "status"), [(-0.5, "completed"), (0.5, "unknown")])
def test_step_that_may_be_repeated_is_left_to_the_core_when_it_comes_back_late(
    late_s: float, status: str
) -> None:
    clock = FakeClock()
    not_after_s = clock.now().timestamp() - late_s
    headers = headers_of_step(StepHeaders(is_idempotent=True, not_after_s=not_after_s))
    assert redelivered(StepWorker, step_body(), headers, clock=clock).statuses[-1] == status


def test_step_may_go_on_at_any_time_when_it_has_been_begun_and_given_back() -> None:
    clock = FakeClock()
    harness = Harness(StepWorker, clock=clock)
    harness.worker.error = JobRetry(7)  # type: ignore[attr-defined]  # of StepWorker
    headers = headers_of_step(StepHeaders(not_after_s=clock.now().timestamp() + 1))
    sent = harness.run(harness.delivery(step_body(), headers=headers)).sent[-1]
    assert sent.properties.headers["x-tries"] == 1
    assert "x-not-after" not in sent.properties.headers

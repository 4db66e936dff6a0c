"""The tries of one job: what its message carries between them, and what limits them."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.bus.contract import DeclareMode, Outcome
from reworker.errors import (
    JobFailed,
    JobRetry,
    TopologyMismatch,
)
from reworker.jobs.retry import Retry
from reworker.jobs.returning import DELAYS_S, rounded_s
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import FakeClock, Harness
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Job, Worker, step
from tests.unit.worker.kit import LEVEL_2, StepWorker, body, step_body

# tries


class Flaky(Worker):
    """Fails as it is told to."""

    error: BaseException = ConnectionError("refused")
    runs = 0

    @step("Try", retry=Retry(3, backoff_s=4.0))
    def try_(self, job: Job, *, number: int = 0) -> None:
        self.runs += 1
        raise self.error


def flaky(
    headers: Any = LEVEL_2, subcommand: str = "Try", parameters: Any = None, **options: Any
) -> tuple[Harness, Any]:
    harness = Harness(Flaky, clock=options.pop("clock", None), **options)
    harness.station.rand = lambda: 0.0
    message = step_body(subcommand, **(parameters or {}))
    return harness, harness.run(harness.delivery(message, headers=headers))


def copy_in(transcript: Any) -> Any:
    (copy,) = (one for one in transcript.sent if "x-tries" in (one.properties.headers or {}))
    return copy


def test_step_waits_at_the_broker_when_it_fails_and_may_be_tried_again() -> None:
    harness, first = flaky()
    copy = copy_in(first)
    assert (copy.routing_key, copy.properties.delivery_mode, first.settled) == (
        "worker.flaky.retry.5s",
        2,
        "ack",
    )
    assert first.replies[-1] == {
        "status": "running",
        "message": "try 1 ended, again in 5 s: ConnectionError: refused",
        "again_in_s": 5.0,
    }
    (queue,) = harness.bus.declared[-1].queues
    assert queue.durable
    assert queue.arguments == {
        "x-message-ttl": 5000,
        "x-expires": 3_605_000,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": "worker.flaky",
    }
    assert copy.properties.headers["x-tries"] == 1
    assert copy.properties.headers["x-retry-error"] == "ConnectionError: refused"


def test_step_fails_with_its_last_error_when_its_tries_are_used_up() -> None:
    harness, transcript = flaky()
    for _ in range(2):
        transcript = harness.run(harness.delivery_of(copy_in(transcript)))
    assert harness.worker.runs == 3  # type: ignore[attr-defined]  # an attribute of Flaky
    assert transcript.statuses == ["failed"]
    assert transcript.message == "gave up after 3 tries: ConnectionError: refused"


def test_step_completes_when_a_later_try_does() -> None:
    harness, first = flaky()
    harness.worker.error = JobFailed("enough")  # type: ignore[attr-defined]  # an attribute of Flaky
    assert harness.run(harness.delivery_of(copy_in(first))).message == "enough"


def test_later_try_shows_that_it_is_there_when_heartbeats_are_wanted() -> None:
    harness, first = flaky(headers_of_step(StepHeaders(heartbeat_s=15)))
    second = harness.run(harness.delivery_of(copy_in(first)))
    assert [one.get("message") for one in second.replies][:1] == ["try 2"]


def test_core_of_2014_hears_one_started_when_a_step_is_tried_again() -> None:
    harness, first = flaky(headers=None)
    assert (first.statuses, first.settled) == (["started"], "ack")
    assert harness.run(harness.delivery_of(copy_in(first))).statuses == []


def test_classic_worker_is_tried_again_when_the_settings_say_so() -> None:
    harness = Harness(ScriptedWorker, retry_attempts=2, retry_on="RuntimeError", OUTPUT_LEVEL="INFO")
    first = harness.run(harness.delivery(body("raise")))
    assert (first.statuses, first.settled) == (["started"], "ack")
    last = harness.run(harness.delivery_of(copy_in(first)))
    assert last.statuses == ["failed"]
    assert "gave up after 2 tries" in last.message


@pytest.mark.parametrize("parameters", [{"number": "many"}, {"no_such": 1}])
def test_wrong_parameters_are_not_tried_again_whatever_the_settings_say(parameters: Any) -> None:
    _, transcript = flaky(parameters=parameters, retry_attempts=5, retry_on="JobFailed")
    assert transcript.statuses == ["failed"]


def test_cancelled_step_is_not_tried_again() -> None:
    class Cancelled(Flaky):
        @step("Stop", retry=3)
        def stop_(self, job: Job) -> None:
            job._attempt.cancel()
            raise ConnectionError("cut")

    harness = Harness(Cancelled)
    transcript = harness.run(harness.delivery(step_body("Stop"), headers=LEVEL_2))
    assert (transcript.statuses, transcript.message) == (["started", "failed"], "ConnectionError: cut")


def test_cancelled_step_is_refused_when_it_comes_back_from_waiting() -> None:
    harness, first = flaky()
    harness.station.cancellations.add(first.sent[0].properties.correlation_id, "enough")
    assert harness.run(harness.delivery_of(copy_in(first))).statuses == ["cancelled"]


# limits of the core


def test_next_try_is_not_made_when_it_would_begin_after_the_time_of_the_step() -> None:
    _, transcript = flaky(headers_of_step(StepHeaders(deadline_s=4.9)))
    assert transcript.statuses == ["started", "failed"]
    assert (
        transcript.message == "ConnectionError: refused; not tried again: in 5 s the time of the step is over"
    )


def test_all_tries_share_the_time_of_the_step() -> None:
    clock = FakeClock()
    harness, first = flaky(headers_of_step(StepHeaders(deadline_s=12)), clock=clock)
    clock.advance(5)
    limits: list[Any] = []

    class Looking(Flaky):
        @step("Try", retry=3)
        def try_(self, job: Job) -> None:
            limits.append(job._attempt.timeout_s)

    other = Harness(Looking, clock=clock)
    other.run(other.delivery_of(copy_in(first)))
    assert limits == [pytest.approx(7.0)]
    clock.advance(3)
    last = harness.run(harness.delivery_of(copy_in(first)))
    assert "not tried again" in last.message, "less than 5 s are left"


def test_next_try_is_refused_with_the_last_error_when_no_worker_took_it_in_time() -> None:
    clock = FakeClock()
    harness, first = flaky(headers_of_step(StepHeaders(queue_timeout_s=30)), clock=clock)
    clock.advance(5 + 29)
    assert harness.run(harness.delivery_of(copy_in(first))).statuses == ["running"]
    clock.advance(2)
    late = harness.run(harness.delivery_of(copy_in(first)))
    assert late.message == (
        "ConnectionError: refused; try 2: it came 1.0 s too late to begin, by the clock of this machine"
    )


def test_delay_is_rounded_up_to_a_fixed_one() -> None:
    assert [rounded_s(one) for one in (0.1, 1, 1.1, 5, 6, 3601)] == [1, 1, 2, 5, 10, 3600]
    assert list(DELAYS_S) == sorted(set(DELAYS_S))


def test_message_waits_once_more_when_its_delay_is_longer_than_the_longest_queue() -> None:
    clock = FakeClock()
    harness = Harness(StepWorker, clock=clock)
    harness.worker.error = JobRetry(5000)  # type: ignore[attr-defined]  # of StepWorker
    first = copy_in(harness.run(harness.delivery(step_body(), headers=LEVEL_2)))
    clock.advance(3600)
    second = harness.run(harness.delivery_of(first))
    again = copy_in(second)
    assert (second.replies, second.settled, again.properties.headers["x-tries"]) == ([], "ack", 1)
    assert again.routing_key == "worker.stepworker.retry.3600s"
    harness.worker.error = None  # type: ignore[attr-defined]  # of StepWorker
    clock.advance(1400)
    assert harness.run(harness.delivery_of(again)).statuses == ["completed"]


# the broker


@pytest.mark.parametrize(
    ("outcome", "statuses"),
    [
        (Outcome.REFUSED, ["failed"]),
        (Outcome.RETURNED, ["failed"]),
        (Outcome.LOST, ["unknown"]),
        (Outcome.TIMED_OUT, ["unknown"]),
    ],
)
def test_step_ends_when_the_broker_does_not_take_its_copy(outcome: Outcome, statuses: list[str]) -> None:
    harness = Harness(Flaky)
    harness.bus.outcome = outcome
    transcript = harness.run(harness.delivery(step_body("Try"), headers=LEVEL_2))
    assert transcript.statuses[-1:] == statuses
    assert f"could not be tried again: {outcome.value}; ConnectionError" in transcript.message


def test_queue_to_wait_in_is_only_checked_when_the_worker_may_not_declare() -> None:
    modes: list[DeclareMode] = []
    harness = Harness(Flaky, declare="verify", queue_type="quorum")
    harness.bus.declare = lambda _spec, mode: modes.append(mode)  # type: ignore[assignment, method-assign, misc]  # the bus of the harness only notes
    harness.run(harness.delivery(step_body("Try"), headers=LEVEL_2))
    assert modes == [DeclareMode.VERIFY]


def test_queue_to_wait_in_is_used_as_it_is_when_it_was_made_with_other_arguments() -> None:
    modes: list[DeclareMode] = []

    def declare(_spec: Any, mode: DeclareMode) -> None:
        modes.append(mode)
        if mode is DeclareMode.DECLARE:
            raise TopologyMismatch("worker.flaky.retry.1s", 406, "x-expires", "none")

    harness = Harness(Flaky)
    harness.bus.declare = declare  # type: ignore[assignment, method-assign]  # a broker that refuses
    transcript = harness.run(harness.delivery(step_body("Try"), headers=LEVEL_2))
    assert modes == [DeclareMode.DECLARE, DeclareMode.VERIFY]
    assert transcript.statuses == ["started", "running"]


def test_no_queue_is_declared_when_that_is_off() -> None:
    modes: list[DeclareMode] = []
    harness = Harness(Flaky, declare="off")
    harness.bus.declare = lambda _spec, mode: modes.append(mode)  # type: ignore[assignment, method-assign, misc]  # the bus of the harness only notes
    harness.station.rand = lambda: 0.0
    transcript = harness.run(harness.delivery(step_body("Try"), headers=LEVEL_2))
    assert modes == [DeclareMode.OFF]
    assert copy_in(transcript).routing_key == "worker.flaky.retry.5s"


def test_copy_may_be_sent_twice_only_when_the_step_may_run_twice() -> None:
    for is_idempotent in (True, False):
        _, transcript = flaky(headers_of_step(StepHeaders(is_idempotent=is_idempotent)))
        assert copy_in(transcript).may_resend is is_idempotent


def test_classic_job_is_tried_again_when_it_was_acknowledged_early() -> None:
    harness = Harness(ScriptedWorker, retry_attempts=2, ack="early", OUTPUT_LEVEL="INFO")
    first = harness.run(harness.delivery(body("raise"), headers=LEVEL_2))
    assert (first.statuses, first.settled) == (["started", "running"], "ack")
    assert harness.run(harness.delivery_of(copy_in(first))).statuses[-1:] == ["failed"]


def test_job_that_has_answered_is_not_tried_again_when_it_then_raises() -> None:
    class Late(ScriptedWorker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            super().process(channel, basic_deliver, properties, body, output)
            raise ConnectionError("after the fact")

    harness = Harness(Late, retry_attempts=5)
    transcript = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert (transcript.statuses, transcript.settled) == (["started", "completed"], "ack")


@pytest.mark.parametrize("code", [403, 404])
def test_step_fails_when_there_is_no_queue_to_wait_in(code: int) -> None:
    def declare(_spec: Any, _mode: DeclareMode) -> None:
        raise TopologyMismatch("worker.flaky.retry.1s", code, "a queue", "ACCESS_REFUSED")

    harness = Harness(Flaky)
    harness.bus.declare = declare  # type: ignore[assignment, method-assign]  # a broker that refuses
    transcript = harness.run(harness.delivery(step_body("Try"), headers=LEVEL_2))
    assert transcript.statuses[-1] == "failed"
    assert transcript.message.startswith("could not be tried again: worker.flaky.retry.1s: broker answered")


def test_step_begins_early_when_it_cannot_wait_once_more() -> None:
    harness = Harness(StepWorker)
    later = str(harness.station.clock.now().timestamp() + 1_000)
    harness.bus.gone.update(f"worker.stepworker.retry.{one}s" for one in DELAYS_S)
    headers = {**LEVEL_2, "x-tries": 1, "x-retry-at": later}
    assert harness.run(harness.delivery(step_body(), headers=headers)).statuses == ["completed"]


def test_step_begins_early_when_there_is_no_queue_to_wait_in_once_more() -> None:
    def declare(_spec: Any, _mode: DeclareMode) -> None:
        raise TopologyMismatch("worker.stepworker.retry.900s", 404, "a queue", "none")

    harness = Harness(StepWorker)
    harness.bus.declare = declare  # type: ignore[assignment, method-assign]  # a broker that refuses
    later = str(harness.station.clock.now().timestamp() + 800)
    headers = {**LEVEL_2, "x-tries": 1, "x-retry-at": later}
    assert harness.run(harness.delivery(step_body(), headers=headers)).statuses == ["completed"]

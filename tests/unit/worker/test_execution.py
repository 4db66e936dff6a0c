"""One delivery through its stages: the outcome of every kind of job."""

from __future__ import annotations

import logging
import os
from dataclasses import fields
from typing import Any

import pytest

from reworker import execution
from reworker.bus.contract import Outcome, Outgoing, Verdict
from reworker.errors import (
    JobCancelled,
    JobFailed,
    JobTimeout,
    JobUnknown,
    MissingParameter,
)
from reworker.jobs.attempt import Attempt
from reworker.jobs.station import Station
from reworker.messages import StepHeaders, headers_of_step
from reworker.output import Output
from reworker.testing import FakeClock, Harness, deliver
from reworker.testing.harness import CORRELATION_ID, RecordingBus, transcript_of
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Job, Worker, step
from tests.unit.worker.kit import LEVEL_2, StepWorker, body, played, raising, step_body


def test_job_is_acknowledged_and_answered_when_it_completes() -> None:
    transcript = played("complete")
    assert transcript.statuses == ["started", "completed"]
    assert transcript.settled == "ack"


def test_step_result_becomes_data_when_it_returns() -> None:
    transcript = deliver(StepWorker, "step:Do", {"value": {"a": [1]}})
    assert (transcript.statuses, transcript.data) == (["started", "completed"], {"a": [1]})


def test_async_step_completes_when_awaited() -> None:
    assert deliver(StepWorker, "step:Async").data == "awaited"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (JobFailed("disk full", {"left": 0}), "failed", "disk full"),
        (JobUnknown("power went"), "unknown", "power went"),
        (JobCancelled("asked to"), "cancelled", "asked to"),
        (JobTimeout(), "failed", "ran longer than its limit"),
        (JobTimeout("too slow"), "failed", "too slow"),
        (KeyError("colour"), "failed", "KeyError: 'colour'"),
        (MissingParameter("size", ("size",)), "failed", "parameter 'size' is missing"),
        (ValueError("odd"), "failed", "ValueError: odd"),
        (SystemExit(4), "failed", "SystemExit: 4"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt"),
        (GeneratorExit(), "failed", "GeneratorExit"),
        (MemoryError("none left"), "failed", "MemoryError"),
    ],
)
def test_error_becomes_the_outcome_when_a_step_raises(error: BaseException, status: str, text: str) -> None:
    transcript = raising(error)
    assert transcript.statuses == ["started", status]
    assert text in transcript.message
    assert transcript.settled == "ack"


def test_unknown_becomes_failed_when_the_core_is_of_2014() -> None:
    transcript = raising(JobUnknown("power went"), headers=None)
    assert transcript.final == {"status": "failed", "message": "unknown: power went"}


def test_error_is_logged_with_its_traceback_when_unexpected(caplog: pytest.LogCaptureFixture) -> None:
    raising(ValueError("odd"))
    assert "Traceback" in caplog.text
    assert CORRELATION_ID in caplog.text


def test_key_error_text_is_that_of_2014_when_the_worker_is_classic() -> None:
    class Picky(ScriptedWorker):
        dynamic = ("cart", "environment")

    harness = Harness(Picky)
    transcript = harness.run(harness.delivery(body("key_error")))
    text = "Picky failed due to missing key: 'colour'. Required Keys: cart,environment"
    assert transcript.final == {"status": "failed", "data": text}
    assert "Picky failed due to missing key: 'colour'." in transcript.output


@pytest.mark.parametrize(
    ("outcome", "statuses", "settled"),
    [
        ("silent", ["started", "failed"], "ack"),
        ("never_ack", ["started", "completed"], "ack"),
        ("double_ack", ["started", "completed"], "ack"),
        ("complete_first", ["completed"], "ack"),
        ("complete_twice", ["started", "completed"], "ack"),
        ("complete_then_fail", ["started", "completed"], "ack"),
        ("reject", ["failed"], "dead letter"),
        ("raise", ["started", "failed"], "ack"),
        ("system_exit", ["started", "failed"], "ack"),
        ("keyboard_interrupt", ["started", "failed"], "ack"),
        ("unserialisable", ["started", "failed"], "ack"),
        ("odd_status", ["started", "errored", "failed"], "ack"),
        ("send_from_thread", ["started", "completed"], "ack"),
        ("send_nowhere", ["started", "completed"], "ack"),
    ],
)
def test_classic_job_ends_with_one_final_reply_when_it_plays(
    outcome: str, statuses: list[str], settled: str
) -> None:
    transcript = played(outcome)
    assert (transcript.statuses, transcript.settled) == (statuses, settled)


def test_second_ack_is_a_warning_when_acknowledged_twice(caplog: pytest.LogCaptureFixture) -> None:
    played("double_ack")
    assert "acknowledged or rejected twice" in caplog.text


def test_result_is_failed_saying_so_when_json_cannot_carry_it() -> None:
    harness = Harness(StepWorker)
    delivery = harness.delivery(step_body(), headers=LEVEL_2)
    attempt = Attempt(harness.station, delivery)
    attempt.owes_status = True
    execution.report(attempt, execution.Reply("completed", data=object()))
    final = harness.bus.sent[-1].body
    assert b"the job ended as completed, but its reply cannot be sent as JSON" in final


def test_result_is_failed_saying_so_when_it_is_too_large() -> None:
    harness = Harness(StepWorker)
    attempt = Attempt(harness.station, harness.delivery(step_body(), headers=LEVEL_2))
    attempt.owes_status = True
    execution.report(attempt, execution.Reply("completed", data="x" * (2 << 20)))
    final = harness.bus.sent[-1].body
    assert b"the job ended as completed, but its reply of 2097" in final
    assert b"send less data" in final


def test_worker_thread_goes_on_when_a_step_returns_what_json_cannot_carry() -> None:
    class Odd(Worker):
        @step("Do")
        def do(self, job: Job) -> Any:
            return object()

    transcript = deliver(Odd, "odd:Do")
    assert transcript.statuses == ["started", "failed"]
    assert transcript.settled == "ack"


def test_forked_child_leaves_without_answering_when_it_returns() -> None:
    transcript = played("fork")
    assert transcript.statuses == ["started", "completed"]


def test_forked_child_ends_the_process_when_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    harness = Harness(StepWorker)
    harness.station.fork_mark.is_child = True
    harness.run(harness.delivery(step_body(), headers=LEVEL_2))
    assert codes == [execution.FORKED_EXIT_CODE]


# replies that are not confirmed


@pytest.mark.parametrize("outcome", [Outcome.TIMED_OUT, Outcome.REFUSED, Outcome.LOST])
def test_delivery_goes_back_when_its_final_reply_was_not_taken(outcome: Outcome) -> None:
    harness = Harness(StepWorker)
    harness.bus.outcome = outcome
    assert harness.run(harness.delivery(step_body(), headers=LEVEL_2)).settled == "requeue"
    harness.bus.outcome = Outcome.CONFIRMED
    again = harness.run(harness.delivery(step_body(), headers=LEVEL_2, redelivered=True))
    assert (again.statuses, again.settled) == (["completed"], "ack")


def test_delivery_is_settled_early_when_told_to() -> None:
    harness = Harness(ScriptedWorker, ack="early")
    harness.bus.hold_confirms()
    delivery = harness.delivery(body())
    harness.run(delivery)
    assert delivery.verdict is Verdict.ACK


def test_delivery_waits_for_its_confirms_when_acknowledgement_is_late() -> None:
    harness = Harness(ScriptedWorker)
    harness.bus.hold_confirms()
    delivery = harness.delivery(body())
    harness.run(delivery)
    assert delivery.verdict is None
    harness.bus.release_confirms()
    assert delivery.verdict is Verdict.ACK


# each stage alone


class Bare:
    """The least that execution takes for a worker."""

    app_logger = logging.getLogger("bare")
    reports_status = True
    dynamic: tuple[str, ...] = ()

    def __init__(self, action: Any = None) -> None:
        self._action = action or (lambda attempt: None)

    def _perform_attempt(self, attempt: Attempt, output: Output) -> None:
        self._action(attempt)

    def _is_idempotent_step(self, subcommand: Any) -> bool:
        return False


def attempt_of(message: dict[str, Any], headers: Any = LEVEL_2, **options: Any) -> Attempt:
    harness = Harness(StepWorker, clock=FakeClock())
    return Attempt(harness.station, harness.delivery(message, headers=headers, **options))


def test_decode_reads_the_step_when_called_alone() -> None:
    attempt = attempt_of(step_body(size=3))
    assert execution.decode(Bare(), attempt)
    assert attempt.step is not None
    assert attempt.step.parameters["size"] == 3


def test_start_opens_the_attempt_when_called_alone() -> None:
    attempt = attempt_of(step_body())
    assert execution.start(Bare(), attempt)
    assert attempt.station.open_attempts == {CORRELATION_ID: attempt}


@pytest.mark.parametrize(("own", "header", "expected"), [(None, 5.0, 5.0), (3.0, 5.0, 3.0), (9.0, None, 9.0)])
def test_perform_takes_the_shorter_limit_when_there_are_two(
    own: float | None, header: float | None, expected: float
) -> None:
    harness = Harness(StepWorker, **({"timeout_s": own} if own else {}))
    headers = headers_of_step(StepHeaders(deadline_s=header))
    attempt = Attempt(harness.station, harness.delivery(step_body(), headers=headers))
    seen: list[float | None] = []
    execution.perform(Bare(lambda one: seen.append(one.timeout_s)), attempt, Output(attempt.send_output, "x"))
    assert seen == [expected]


def test_perform_shows_the_running_attempt_when_it_runs() -> None:
    attempt = attempt_of(step_body())
    seen: list[Any] = []
    worker = Bare(lambda one: seen.append(one.station.current))
    execution.perform(worker, attempt, Output(attempt.send_output, "x"))
    assert (seen, attempt.station.current) == ([attempt], None)


class Unreachable(Station):
    """Where an interruption arrives just when the job is over."""

    _seen: Any = None
    _is_interrupted = False

    @property
    def current(self) -> Any:
        return self._seen

    @current.setter
    def current(self, attempt: Any) -> None:
        if self._seen is not None and not self._is_interrupted:
            self._is_interrupted = True
            raise JobTimeout
        self._seen = attempt


def test_perform_shows_no_attempt_when_an_interruption_came_as_the_job_ended() -> None:
    """The watch would end the whole process for a job that is long over."""
    harness = Harness(StepWorker)
    station = Unreachable(**{one.name: getattr(harness.station, one.name) for one in fields(Station)})
    attempt = Attempt(station, harness.delivery(step_body(), headers=LEVEL_2))
    reply = execution.perform(Bare(lambda _: None), attempt, Output(attempt.send_output, "x"))
    assert reply is not None
    assert reply.status == "failed"
    assert station.current is None


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise AttributeError("no text")


@pytest.mark.parametrize("headers", [LEVEL_2, None])
def test_job_is_answered_when_its_error_cannot_be_put_into_words(headers: Any) -> None:
    harness = Harness(StepWorker)
    harness.worker.error = Unspeakable()  # type: ignore[attr-defined]  # of StepWorker
    delivery = harness.delivery(step_body(), headers=headers)
    with pytest.raises(AttributeError):
        harness.run(delivery)
    transcript = transcript_of(harness.bus.sent, delivery)
    assert transcript.statuses == ["started", "failed"]
    assert "AttributeError: no text" in transcript.message
    assert transcript.settled == "ack"


class Interrupting(RecordingBus):
    """A bus in which the time of a job is up while it publishes a text, before or after that is queued."""

    def __init__(self, text: bytes, *, is_queued: bool) -> None:
        super().__init__()
        self._text, self._is_queued = text, is_queued

    def publish(self, message: Outgoing, *arguments: Any, **options: Any) -> None:
        is_hit = self._text in message.body
        if not is_hit or self._is_queued:
            super().publish(message, *arguments, **options)
        if is_hit:
            raise JobTimeout


class ClassicTalker(Worker):
    """Says what it was told to on the way to its end."""

    def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
        self.send("elsewhere", properties.correlation_id, {"note": "midway"})
        self.send(properties.reply_to, properties.correlation_id, {"status": "completed"}, exchange="")


@pytest.mark.parametrize("is_queued", [False, True])
@pytest.mark.parametrize("text", [b"midway", b"completed"])
def test_job_is_answered_and_settled_when_it_is_interrupted_while_it_publishes(
    text: bytes, is_queued: bool
) -> None:
    harness = Harness(ClassicTalker)
    harness.station.bus = bus = Interrupting(text, is_queued=is_queued)
    delivery = harness.delivery(step_body(), headers=LEVEL_2)
    harness.run(delivery)
    statuses = transcript_of(bus.sent, delivery).statuses
    assert statuses == (["completed", "failed"] if is_queued and text == b"completed" else ["failed"])
    assert delivery.verdict is Verdict.ACK


def test_job_is_answered_once_when_a_stage_fails_after_that(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(StepWorker)
    harness.station.tally = None  # type: ignore[assignment]  # a bug of ours
    delivery = harness.delivery(step_body(), headers=LEVEL_2)
    with pytest.raises(AttributeError):
        harness.run(delivery)
    transcript = transcript_of(harness.bus.sent, delivery)
    assert (transcript.statuses, transcript.settled) == (["started", "completed"], "ack")
    assert "second final reply" not in caplog.text


def test_report_says_nothing_when_there_is_nothing_to_say() -> None:
    attempt = attempt_of(step_body())
    execution.report(attempt, None)
    assert attempt.final_status == ""

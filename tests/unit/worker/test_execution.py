"""One delivery through its stages: the outcome of every kind of job."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest

from reworker import execution
from reworker.bus.contract import Outcome, TopologySpec
from reworker.errors import (
    ConnectionLost,
    JobCancelled,
    JobFailed,
    JobRetry,
    JobTimeout,
    JobUnknown,
    MissingParameter,
)
from reworker.jobs.attempt import Attempt
from reworker.messages import StepHeaders, headers_of_step
from reworker.output import Output
from reworker.testing import FakeClock, Harness, deliver
from reworker.testing.harness import CORRELATION_ID, RecordingBus
from reworker.testing.scripted import ScriptedWorker
from reworker.worker import Job, Worker, step

LEVEL_2 = headers_of_step(StepHeaders())
IDEMPOTENT = headers_of_step(StepHeaders(is_idempotent=True))


def body(outcome: str = "complete", **more: Any) -> dict[str, Any]:
    own = {"command": "scripted", "subcommand": "Play", "hosts": ["web1"], "outcome": outcome}
    return {"group": "g", "parameters": {**own, **more}, "dynamic": {}, "notify": {}}


def played(outcome: str, **options: Any) -> Any:
    harness = Harness(ScriptedWorker)
    return harness.run(harness.delivery(body(outcome), headers=LEVEL_2, **options))


class StepWorker(Worker):
    """Raises what it is told to."""

    error: BaseException | None = None
    runs = 0

    @step("Do")
    def do(self, job: Job, *, value: Any = None) -> Any:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return value

    @step("Again", idempotent=True)
    def again(self, job: Job) -> str:
        self.runs += 1
        return "done"

    @step("Async")
    async def later(self, job: Job) -> str:
        await asyncio.sleep(0)
        return "awaited"


def step_body(subcommand: str = "Do", **parameters: Any) -> dict[str, Any]:
    return {"group": "g", "parameters": {"command": "step", "subcommand": subcommand, **parameters}}


def raising(error: BaseException, *, headers: Any = LEVEL_2) -> Any:
    harness = Harness(StepWorker)
    harness.worker.error = error  # type: ignore[attr-defined]  # of StepWorker
    return harness.run(harness.delivery(step_body(), headers=headers))


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
    pids = iter([1, 2])
    monkeypatch.setattr(os, "getpid", lambda: next(pids))
    monkeypatch.setattr(os, "_exit", codes.append)
    played("complete")
    assert codes == [execution.FORKED_EXIT_CODE]


# malformed messages


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not json",
        b"[1]",
        b"null",
        b"7",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"a": 1, "a": 2}',
        b'{"parameters": {"x": NaN}}',
        b'{"group": "g"}',
        b'{"group": "g", "parameters": []}',
        b'{"group": 7, "parameters": {}}',
        b'{"parameters": {}, "dynamic": [1]}',
        b'{"parameters": {}, "notify": {"started": {"irc": "#chan"}}}',
        b'{"parameters": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        b'{"parameters": {"a": "' + b"x" * (1 << 20) + b'"}}',
    ],
    ids=lambda raw: raw[:24].decode("ascii", "replace"),
)
def test_malformed_message_is_answered_and_dead_lettered_when_it_arrives(raw: bytes) -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(raw))
    assert transcript.statuses == ["failed"]
    assert "was not understood" in transcript.message
    assert transcript.settled == "dead letter"
    assert harness.run(harness.delivery(body())).statuses == ["started", "completed"]


def test_malformed_message_is_dead_lettered_when_nobody_waits_for_a_reply() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(b"x", reply_to=None, correlation_id=None))
    assert (transcript.sent, transcript.settled) == ([], "dead letter")


def test_content_encoding_is_refused_when_unknown() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(body(), content_encoding="gzip"))
    assert "gzip" in transcript.message


def test_null_dynamic_and_notify_are_empty_when_a_peer_sends_them() -> None:
    seen: list[Any] = []

    class Looking(ScriptedWorker):
        def process(self, channel: Any, basic_deliver: Any, properties: Any, body: Any, output: Any) -> None:
            seen.append((body["dynamic"], body["notify"]))
            super().process(channel, basic_deliver, properties, body, output)

    harness = Harness(Looking)
    transcript = harness.run(harness.delivery({"parameters": {}, "dynamic": None, "notify": None}))
    assert (seen, transcript.statuses) == ([({}, {})], ["started", "completed"])


@pytest.mark.parametrize("correlation_id", [None, "", "../../x", "x" * 255, "a b\n\x1b[0m"])
def test_correlation_id_is_echoed_as_it_came_when_odd(correlation_id: str | None) -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery(body(), correlation_id=correlation_id))
    assert transcript.statuses == ["started", "completed"]
    assert {one.properties.correlation_id for one in transcript.sent} == {correlation_id}


@pytest.mark.parametrize("reply_to", [None, "log"])
def test_job_runs_silently_when_nobody_asked_for_replies(reply_to: str | None) -> None:
    harness = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    transcript = harness.run(harness.delivery(body(), reply_to=reply_to))
    assert (transcript.sent, transcript.settled) == ([], "ack")


def test_delivery_is_settled_and_counted_once_when_the_reply_queue_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness = Harness(ScriptedWorker)
    harness.bus.gone.add("re.replies")
    transcript = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert transcript.settled == "ack"
    assert harness.station.counts["unroutable"] == 2
    assert caplog.text.count("was not taken") == 1


# output and notification workers owe no status


@pytest.mark.parametrize("key", ["output", "notify.irc"])
def test_no_reply_is_made_when_a_message_owes_none(key: str) -> None:
    harness = Harness(ScriptedWorker)
    message = {"parameters": {"outcome": "silent"}, "message": "x"}
    transcript = harness.run(harness.delivery(message, routing_key=key))
    assert transcript.statuses == ["started"]
    assert transcript.output == []


def test_message_is_dead_lettered_when_its_job_raised_and_nobody_hears() -> None:
    harness = Harness(ScriptedWorker)
    transcript = harness.run(harness.delivery({"parameters": {"outcome": "raise"}}, routing_key="output"))
    assert (transcript.statuses, transcript.settled) == (["started"], "dead letter")


def test_message_goes_back_plainly_when_it_owes_no_status_and_is_rejected_with_requeue() -> None:
    harness = Harness(ScriptedWorker)
    message = {"parameters": {"outcome": "give_back"}}
    transcript = harness.run(harness.delivery(message, routing_key="notify.irc"))
    assert (transcript.sent, transcript.settled) == ([], "requeue")


def test_worker_never_answers_when_its_class_says_so() -> None:
    class Quiet(ScriptedWorker):
        reports_status = False

    harness = Harness(Quiet, OUTPUT_LEVEL="INFO")
    assert harness.run(harness.delivery({"parameters": {"outcome": "silent"}})).statuses == ["started"]
    assert harness.run(harness.delivery(b"broken")).sent == []


def test_lifecycle_lines_are_sent_when_the_level_is_debug() -> None:
    harness = Harness(ScriptedWorker)
    lines = harness.run(harness.delivery(body())).output
    assert [line.split()[0] for line in lines] == ["Starting", "Finished"]
    assert f"ScriptedWorker.{CORRELATION_ID}" in lines[0]
    quiet = Harness(ScriptedWorker, OUTPUT_LEVEL="INFO")
    assert quiet.run(quiet.delivery(body())).output == []


# redelivery


def redelivered(worker_cls: type[Worker], message: dict[str, Any], headers: Any, **options: Any) -> Any:
    harness = Harness(worker_cls, **options)
    return harness.run(harness.delivery(message, headers=headers, redelivered=True))


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
    make = lambda: harness.delivery(step_body("Again"), headers=LEVEL_2, redelivered=True)  # noqa: E731  short
    for _ in range(execution.MAX_RETURNS - 1):
        harness.station.ledger.count_return(CORRELATION_ID)
    transcript = harness.run(make())
    assert (transcript.statuses, transcript.settled) == (["failed"], "dead letter")
    assert "3 workers were lost" in transcript.message


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
    assert (first.verdict, second.verdict) == (execution.Verdict.ACK, execution.Verdict.ACK)
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
    transcript = raising(JobRetry(message="no luck"), headers={**LEVEL_2, "x-returns": 19})
    assert transcript.message == "gave up after 20 tries: no luck"


def test_step_fails_when_the_broker_does_not_let_it_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_bus: RecordingBus, _topology: TopologySpec, *_more: Any) -> None:
        raise ConnectionLost("gone")

    monkeypatch.setattr(RecordingBus, "declare", refuse)
    assert "could not be tried again: gone" in raising(JobRetry(5)).message


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
    assert delivery.verdict is execution.Verdict.ACK


def test_delivery_waits_for_its_confirms_when_acknowledgement_is_late() -> None:
    harness = Harness(ScriptedWorker)
    harness.bus.hold_confirms()
    delivery = harness.delivery(body())
    harness.run(delivery)
    assert delivery.verdict is None
    harness.bus.release_confirms()
    assert delivery.verdict is execution.Verdict.ACK


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


def test_report_says_nothing_when_there_is_nothing_to_say() -> None:
    attempt = attempt_of(step_body())
    execution.report(attempt, None)
    assert attempt.final_status == ""

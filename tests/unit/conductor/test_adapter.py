"""One message to a worker in Conductor's style: what it is given, and how its job ends."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from reworker.conductor import NonRetryableException, TaskInProgress, TaskResult, TaskResultStatus
from reworker.conductor.adapter import adapter_of
from reworker.messages import StepHeaders, headers_of_step
from reworker.testing import FakeClock, Harness
from reworker.testing.harness import CORRELATION_ID
from tests.unit.conductor.kit import COMPLETED, LEVEL_2, Styled, body, performed, result, station_of

FAILED = result(TaskResultStatus.FAILED, reason_for_incompletion="no disk", output_data={"left": 3})
LATER = result(TaskResultStatus.IN_PROGRESS, callback_after_seconds=7, output_data={"seen": 1})


def copy_in(transcript: Any) -> Any:
    (copy,) = (one for one in transcript.sent if "x-tries" in (one.properties.headers or {}))
    return copy


# what a worker is given


def test_task_has_input_ids_and_counts_when_executed() -> None:
    worker = Styled(COMPLETED)
    performed(worker, dynamic={"color": "red", "speed": 9}, speed=3)
    (task,) = worker.tasks
    raw = task.input_data.pop("_re")  # type: ignore[union-attr]  # it has input
    assert task.input_data == {
        "color": "red",
        "speed": 3,
        "command": "frob",
        "subcommand": "Run",
        "hosts": ["web1"],
    }
    assert raw["dynamic"] == {"color": "red", "speed": 9}
    assert (task.task_id, task.correlation_id) == (CORRELATION_ID, CORRELATION_ID)
    assert task.workflow_instance_id == CORRELATION_ID.partition(".")[0]
    assert (task.task_type, task.task_def_name, task.reference_task_name) == ("frob", "frob", "frob:Run")
    assert (task.retry_count, task.poll_count, task.workflow_type, task.status) == (0, 1, "g", "IN_PROGRESS")


def test_queue_is_that_of_the_type_and_domain_when_made() -> None:
    worker = Styled(COMPLETED, "Frob_2")
    worker.domain, worker.thread_count = "eu", 4
    settings = station_of(worker).worker._settings
    assert (settings.queue, settings.routing_keys) == ("worker.eu.Frob_2", ("worker.eu.Frob_2",))
    assert settings.instances == 4


def test_domain_and_interval_of_the_environment_are_what_the_methods_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("conductor_worker_Frob_domain", "us")
    monkeypatch.setenv("conductor_worker_polling_interval", "2000")
    worker = Styled(COMPLETED, "Frob")
    worker.domain = "eu"
    assert station_of(worker).worker._settings.queue == "worker.us.Frob"
    assert (worker.get_domain(), worker.get_polling_interval_in_seconds()) == ("us", 2.0)


# how a job ends


def test_step_is_completed_with_the_output_when_the_status_says_so() -> None:
    transcript = performed(Styled(COMPLETED))
    assert transcript.statuses == ["started", "completed"]
    assert transcript.data == {"done": 1}
    assert transcript.settled == "ack"


@pytest.mark.parametrize(
    ("answer", "data"),
    [({"a": 1}, {"a": 1}), (7, {"result": 7}), ([1], {"result": [1]}), (TaskResult(status="COMPLETED"), {})],
)
def test_step_is_completed_when_execute_returns_plain_output(answer: Any, data: Any) -> None:
    assert performed(Styled(answer)).data == data


def test_step_is_failed_with_reason_and_output_when_the_status_says_so() -> None:
    transcript = performed(Styled(FAILED))
    assert transcript.statuses == ["started", "failed"]
    assert transcript.message == "no disk"
    assert transcript.data["reason"] == "no disk"
    assert transcript.data["output"] == {"left": 3}
    assert "terminal" not in transcript.data
    assert transcript.output == ["failed: no disk"]


@pytest.mark.parametrize(
    "answer",
    [
        result(TaskResultStatus.FAILED_WITH_TERMINAL_ERROR, reason_for_incompletion="never"),
        NonRetryableException("never"),
    ],
)
def test_step_is_failed_for_good_when_no_other_try_would_help(answer: Any) -> None:
    harness = station_of(Styled(answer), retry_attempts=5, retry_on=["JobFailed", "Exception"])
    transcript = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert transcript.statuses == ["started", "failed"]
    assert (transcript.message, transcript.data["terminal"]) == ("never", True)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "execute() of Styled returned nothing; it has to return a TaskResult"),
        (result(None), "the TaskResult of Styled has no status; set it before it is returned"),
        (
            result("DONE"),
            "the TaskResult of Styled has the status 'DONE'; known: COMPLETED, FAILED, "
            "FAILED_WITH_TERMINAL_ERROR, IN_PROGRESS",
        ),
    ],
)
def test_step_is_failed_with_a_clear_reason_when_the_worker_has_a_bug(answer: Any, text: str) -> None:
    transcript = performed(Styled(answer))
    assert (transcript.statuses[-1], transcript.message) == ("failed", text)


def test_step_is_failed_with_type_and_text_when_execute_raises() -> None:
    transcript = performed(Styled(KeyError("color")))
    assert (transcript.statuses, transcript.message) == (["started", "failed"], "KeyError: 'color'")


@pytest.mark.parametrize("reason", [3, {"a": 1}, ["x"], ""])
def test_reason_is_text_whatever_it_was(reason: Any) -> None:
    transcript = performed(Styled(result("FAILED", reason_for_incompletion=reason)))
    assert transcript.message == (str(reason) or "failed, and its worker gave no reason")


@pytest.mark.parametrize("answer", [FAILED, OSError("no disk")])
def test_failed_step_is_tried_again_when_the_settings_say_so(answer: Any) -> None:
    worker = Styled(answer)
    harness = station_of(worker, retry_attempts=2)
    first = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert first.statuses == ["started", "running"]
    second = harness.run(harness.delivery_of(copy_in(first)))
    assert second.statuses == ["failed"]
    assert second.message.startswith("gave up after 2 tries: ")
    assert [task.retry_count for task in worker.tasks] == [0, 1]
    assert [task.poll_count for task in worker.tasks] == [1, 1]


def test_failed_result_is_not_tried_again_when_only_other_errors_are_named() -> None:
    harness = station_of(Styled(FAILED), retry_attempts=2, retry_on=["OSError"])
    assert harness.run(harness.delivery(body(), headers=LEVEL_2)).statuses == ["started", "failed"]


# tasks in progress


@pytest.mark.parametrize("answer", [LATER, TaskInProgress(7, {"seen": 1})])
def test_task_waits_at_the_broker_and_is_executed_again_when_it_is_in_progress(answer: Any) -> None:
    worker = Styled(answer)
    harness = station_of(worker)
    first = harness.run(harness.delivery(body(color="red"), headers=LEVEL_2))
    copy = copy_in(first)
    assert copy.routing_key == "worker.frob.retry.10s"
    assert first.replies == [
        {"status": "started"},
        {"status": "running", "message": "in progress, again in 10 s", "again_in_s": 10.0},
    ]
    worker.answer = COMPLETED
    second = harness.run(harness.delivery_of(copy))
    assert second.statuses == ["completed"]
    before, after = worker.tasks
    assert (before.poll_count, after.poll_count, after.retry_count) == (1, 2, 0)
    assert (before.output_data, after.output_data) == ({}, {"seen": 1})
    assert after.input_data is not None
    assert after.input_data["color"] == "red"


def test_task_in_progress_counts_for_no_try_when_it_fails_later() -> None:
    worker = Styled(LATER)
    harness = station_of(worker, retry_attempts=2)
    harness.station.rand = lambda: 0.0
    found = harness.run(harness.delivery(body(), headers=LEVEL_2))
    for _ in range(30):
        found = harness.run(harness.delivery_of(copy_in(found)))
    worker.answer = FAILED
    found = harness.run(harness.delivery_of(copy_in(found)))
    assert found.statuses == ["running"]
    assert found.replies[0]["message"] == "try 1 ended, again in 1 s: no disk"
    found = harness.run(harness.delivery_of(copy_in(found)))
    assert (found.statuses, found.message) == (["failed"], "gave up after 2 tries: no disk")
    assert [task.poll_count for task in worker.tasks[-3:]] == [31, 32, 32]


def test_task_in_progress_says_started_once_to_a_core_of_2014() -> None:
    worker = Styled(LATER)
    harness = station_of(worker)
    first = harness.run(harness.delivery(body()))
    assert first.statuses == ["started"]
    worker.answer = COMPLETED
    assert harness.run(harness.delivery_of(copy_in(first))).statuses == ["completed"]


def test_task_in_progress_fails_when_its_step_has_no_time_left() -> None:
    headers = headers_of_step(StepHeaders(deadline_s=5.0))
    transcript = performed(Styled(LATER), headers=headers)
    assert transcript.statuses == ["started", "failed"]
    assert transcript.message == "in progress; not tried again: in 10 s the time of the step is over"


def test_task_in_progress_fails_when_its_output_would_make_the_message_too_large() -> None:
    transcript = performed(Styled(TaskInProgress(1, {"blob": "x" * (1 << 20)})))
    assert transcript.statuses == ["started", "running", "failed"]
    assert "could not be tried again: a step of 1048726 bytes is over the limit" in transcript.message


@pytest.mark.parametrize("seconds", [0, 0.2, None, -5])
def test_task_in_progress_pauses_for_a_second_at_least(seconds: Any) -> None:
    answer = result(TaskResultStatus.IN_PROGRESS, callback_after_seconds=seconds)
    assert copy_in(performed(Styled(answer))).routing_key == "worker.frob.retry.1s"


def test_progress_of_another_shape_is_none_when_somebody_else_wrote_it() -> None:
    worker = Styled(COMPLETED)
    harness = station_of(worker)
    harness.run(harness.delivery({**body(), "progress": {"polls": "many", "output": 3}}, headers=LEVEL_2))
    assert (worker.tasks[0].poll_count, worker.tasks[0].output_data) == (1, {})


# redeliveries


def test_redelivered_step_is_unknown_when_nobody_says_that_it_may_run_twice() -> None:
    harness = station_of(Styled(COMPLETED))
    assert harness.run(harness.delivery(body(), headers=LEVEL_2, redelivered=True)).statuses == ["unknown"]


def test_redelivered_step_is_run_when_its_worker_may_execute_twice() -> None:
    worker = Styled(COMPLETED)
    worker.idempotent = True
    harness = station_of(worker)
    lost = harness.run(harness.delivery(body(), headers=LEVEL_2, redelivered=True))
    (copy,) = lost.sent  # the broker counts no losses: it goes round once, with a count of them
    assert harness.run(harness.delivery_of(copy)).statuses == ["started", "completed"]


# logs and listeners


def test_logs_are_lines_of_output_when_a_result_has_them() -> None:
    def answer(worker: Styled, task: Any) -> TaskResult:
        found = worker.get_task_result_from_task(task)
        found.status = TaskResultStatus.COMPLETED
        return found.log("first").log("second")

    assert performed(Styled(answer)).output == ["first", "second"]


class Listener:
    """Keeps what it is told; and raises, which must disturb nobody."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_task_execution_started(self, event: Any) -> None:
        self.heard.append(event)

    def on_task_execution_completed(self, event: Any) -> None:
        self.heard.append(event)
        raise RuntimeError("a listener's own trouble")

    on_task_execution_failure = on_task_execution_started


@pytest.mark.parametrize(
    ("answer", "names", "status"),
    [
        (COMPLETED, ["TaskExecutionStarted", "TaskExecutionCompleted"], "completed"),
        (LATER, ["TaskExecutionStarted", "TaskExecutionCompleted"], "running"),
        (FAILED, ["TaskExecutionStarted", "TaskExecutionFailure"], "failed"),
    ],
)
def test_listener_hears_of_each_task_and_decides_nothing(
    answer: Any, names: list[str], status: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    harness = Harness(adapter_of(Styled(answer), "frob", [listener]), clock=FakeClock())
    with caplog.at_level(logging.CRITICAL):
        found = harness.run(harness.delivery(body(), headers=LEVEL_2))
    assert found.statuses[-1] == status
    assert [type(one).__name__ for one in listener.heard] == names
    assert {(one.task_type, one.task_id) for one in listener.heard} == {("frob", CORRELATION_ID)}


def test_message_of_a_later_try_keeps_its_parameters() -> None:
    copy = copy_in(performed(Styled(LATER), color="red"))
    sent = json.loads(copy.body)
    assert sent["parameters"]["color"] == "red"
    assert sent["progress"] == {"polls": 1, "output": {"seen": 1}}
    assert copy.properties.headers["x-tries-going-on"] == 1

"""`get_task_context()`: what code may ask and say while its task runs."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.conductor import TaskResult, TaskResultStatus, Worker, get_task_context
from reworker.conductor.context import TaskInProgress
from tests.unit.conductor.kit import Styled, body, performed, result, station_of


def test_context_tells_of_the_task_when_it_runs() -> None:
    def told() -> dict[str, Any]:
        context = get_task_context()
        return {
            "id": context.get_task_id(),
            "deployment": context.get_workflow_instance_id(),
            "type": context.get_task_def_name(),
            "counts": [context.get_retry_count(), context.get_poll_count()],
            "color": context.get_input()["color"],
            "callback": context.get_callback_after_seconds(),
            "cancelled": context.cancelled,
        }

    assert performed(Worker("frob", told), color="red").data == {
        "id": "0123456789abcdef01234567.1",
        "deployment": "0123456789abcdef01234567",
        "type": "frob",
        "counts": [0, 1],
        "color": "red",
        "callback": 0,
        "cancelled": False,
    }


def test_context_is_refused_when_no_task_runs() -> None:
    performed(Worker("frob", lambda: 1))
    with pytest.raises(RuntimeError, match="no task runs here"):
        get_task_context()


def test_lines_are_sent_at_once_and_no_second_time() -> None:
    def answer() -> dict[str, Any]:
        get_task_context().add_log("one")
        return {"keys": [message.routing_key for message in harness.bus.sent]}

    harness = station_of(Worker("frob", answer))
    found = harness.run(harness.delivery(body()))
    assert found.data == {"keys": ["re.replies", "output"]}
    assert found.output == ["one"]


def test_result_of_the_context_may_be_returned() -> None:
    def answer(worker: Any, task: Any) -> TaskResult:
        context = get_task_context()
        context.add_log("one")
        context.set_output({"a": 1})
        context.task_result.status = TaskResultStatus.COMPLETED
        return context.task_result

    found = performed(Styled(answer))
    assert (found.data, found.output) == ({"a": 1}, ["one"])


def test_output_of_the_context_is_below_what_is_returned() -> None:
    def answer() -> dict[str, Any]:
        get_task_context().set_output({"a": 1, "b": 1})
        return {"b": 2}

    assert performed(Worker("frob", answer)).data == {"a": 1, "b": 2}


def test_output_that_is_no_dictionary_is_refused() -> None:
    def answer() -> None:
        get_task_context().set_output([1])  # type: ignore[arg-type]  # that is the mistake

    assert performed(Worker("frob", answer)).message.startswith("ValueError: the output of a task is a dict")


def test_function_goes_on_later_when_its_context_was_told_so() -> None:
    def answer() -> dict[str, Any]:
        get_task_context().set_callback_after(5)
        return {"seen": 1}

    found = performed(Worker("frob", answer))
    assert found.statuses == ["started", "running"]
    assert found.replies[-1]["again_in_s"] == 5.0


def test_result_that_says_completed_is_so_whatever_the_context_was_told() -> None:
    def answer(worker: Any, task: Any) -> TaskResult:
        get_task_context().set_callback_after(5)
        return result(TaskResultStatus.COMPLETED)(worker, task)

    assert performed(Styled(answer)).statuses == ["started", "completed"]


def test_task_in_progress_says_what_it_is() -> None:
    assert repr(TaskInProgress(5, {"a": 1})) == "TaskInProgress(callback_after_seconds=5, output={'a': 1})"
    assert TaskInProgress().callback_after_seconds == 60

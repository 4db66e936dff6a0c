"""Names and paths by which programs written for the SDKs find what they import."""

from __future__ import annotations

import pickle
from importlib import import_module

import pytest

import reworker.conductor
from reworker.conductor import Task, TaskExecLog, TaskResult, TaskResultStatus
from reworker.conductor.adapter import adapter_of
from reworker.conductor.event import task_runner_events as events
from reworker.conductor.event.listeners import TaskRunnerEventsListener
from reworker.testing import Harness
from tests.unit.conductor.kit import COMPLETED, Styled, body

#: paths of both SDKs below their package, and what is imported from there.
PATHS = {
    "http.models": "Task TaskResult TaskExecLog",
    "http.models.task": "Task",
    "http.models.task_result": "TaskResult",
    "http.models.task_result_status": "TaskResultStatus",
    "http.models.task_exec_log": "TaskExecLog",
    "worker.worker": "Worker",
    "worker.worker_abc": "WorkerAbc",
    "worker.worker_impl": "WorkerImpl",
    "worker.worker_interface": "WorkerAbc WorkerInterface",
    "worker.worker_task": "worker_task WorkerTask",
    "worker.exception": "NonRetryableException",
    "context.task_context": "TaskContext TaskInProgress get_task_context",
    "context": "TaskInProgress get_task_context",
    "automation.worker_host": "WorkerHost",
    "automator.task_handler": "TaskHandler",
    "configuration": "Configuration",
    "configuration.configuration": "Configuration",
    "configuration.settings.authentication_settings": "AuthenticationSettings",
    "configuration.settings.metrics_settings": "MetricsSettings",
    "settings.metrics_settings": "MetricsSettings",
}


@pytest.mark.parametrize(("path", "names"), PATHS.items(), ids=PATHS)
def test_path_has_the_names_of_the_package(path: str, names: str) -> None:
    module = import_module(f"reworker.conductor.{path}")
    for name in names.split():
        assert getattr(module, name) is getattr(reworker.conductor, name)


def test_listener_of_the_sdk_hears_of_tasks() -> None:
    heard: list[str] = []

    class Mine(TaskRunnerEventsListener):
        def on_task_execution_completed(self, event: events.TaskExecutionCompleted) -> None:
            heard.append(event.task_type)

        def on_poll_failure(self, event: events.PollFailure) -> None:
            heard.append("a poll")

    harness = Harness(adapter_of(Styled(COMPLETED), "frob", [Mine()]))
    assert harness.run(harness.delivery(body())).statuses == ["started", "completed"]
    assert heard == ["frob"]


def test_package_has_all_names_flat() -> None:
    assert all(hasattr(reworker.conductor, name) for name in reworker.conductor.__all__)
    assert {name for names in PATHS.values() for name in names.split()} <= set(reworker.conductor.__all__)


def test_task_makes_results_and_is_plain_data() -> None:
    task = Task(task_id="t", workflow_instance_id="w", worker_id="me", input_data={"a": 1})
    found = task.to_task_result(TaskResultStatus.FAILED)
    assert (found.task_id, found.workflow_instance_id, found.status) == ("t", "w", "FAILED")
    assert task.to_dict()["input_data"] == {"a": 1}
    assert pickle.loads(pickle.dumps(task)) == task


def test_result_keeps_output_and_log() -> None:
    found = (
        TaskResult(task_id="t", status="COMPLETED").add_output_data("a", 1).add_output_data("b", 2).log("x")
    )
    assert found.output_data == {"a": 1, "b": 2}
    assert found.logs == [TaskExecLog("x", "t")]
    assert found.to_dict()["logs"] == [{"log": "x", "task_id": "t", "created_time": None}]
    assert str(TaskResultStatus.COMPLETED) == "COMPLETED"

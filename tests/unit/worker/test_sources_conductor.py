"""Names of variables of Conductor's SDKs: each counts, also those that do nothing there."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.config import place_in
from reworker.host.host import WorkerHost
from reworker.jobs.sources import layers_of, strange_variables

#: variables for a type whose name has capital letters and more, strongest first.
FOR_A_TYPE = (
    "REWORKER_MY_TASK_DOMAIN",
    "conductor.worker.My-task.domain",
    "conductor.worker.my_task.domain",
    "conductor_worker_My-task_domain",
    "conductor_worker_My_task_domain",
    "conductor_worker_my_task_domain",
    "CONDUCTOR_WORKER_MY_TASK_DOMAIN",
    "CONDUCTOR_WORKER_My_task_DOMAIN",
)
FOR_ALL = (
    "REWORKER_DOMAIN",
    "conductor.worker.all.domain",
    "conductor_worker_all_domain",
    "CONDUCTOR_WORKER_ALL_DOMAIN",
    "conductor_worker_domain",
    "CONDUCTOR_WORKER_DOMAIN",
)


def found_in(environ: dict[str, str], name: str = "domain") -> tuple[Any, str]:
    return layers_of("AnyWorker", {"queue": "My-task"}, (place_in("none"), {}), environ).find(name)


@pytest.mark.parametrize("variable", [*FOR_A_TYPE, *FOR_ALL])
def test_variable_counts_when_it_is_the_only_one(variable: str) -> None:
    assert found_in({variable: "x"}) == ("x", variable)


@pytest.mark.parametrize("weak", FOR_ALL)
@pytest.mark.parametrize("strong", FOR_A_TYPE)
def test_variable_for_the_type_wins_over_one_for_all(strong: str, weak: str) -> None:
    assert found_in({strong: "x", weak: "y"}) == ("x", strong)


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("conductor.worker.My-task.poll_interval", "polling_interval"),
        ("conductor.worker.all.poll_interval_millis", "polling_interval"),
        ("conductor_worker_My-task_thread_count", "instances"),
        ("CONDUCTOR_WORKER_ALL_THREAD_COUNT", "instances"),
        ("conductor.worker.My-task.paused", "paused"),
    ],
)
def test_name_of_a_property_in_an_sdk_means_ours(variable: str, name: str) -> None:
    assert found_in({variable: "7"}, name) == ("7", variable)


def test_variable_of_another_type_is_none_of_ours() -> None:
    others = {"conductor.worker.my-tasks.domain": "x", "conductor_worker_task_domain": "y"}
    assert found_in(others) == (None, "default")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("conductor_worker_my_task_domian", "conductor_worker_my_task_domain"),
        ("CONDUCTOR_WORKER_THREAD_CUONT", "CONDUCTOR_WORKER_THREAD_COUNT"),
        ("conductor.worker.all.poll_intervall_millis", "conductor.worker.all.poll_interval_millis"),
        ("conductor_worker_other_register_task_def", ""),
        ("conductor_worker_", ""),
    ],
)
def test_variable_that_ends_with_no_property_is_told_with_the_nearest(variable: str, meant: str) -> None:
    hint = f"; did you mean {meant}?" if meant else ""
    wanted = f"{variable} is no property of a worker, and does nothing{hint}"
    assert list(strange_variables({variable: "secret", "PATH": "/bin"})) == [wanted]


def test_variables_that_count_for_some_worker_are_not_told() -> None:
    others = ("conductor_worker_other_thread_count", "conductor.worker.my-tasks.domain")
    found = strange_variables(dict.fromkeys((*FOR_A_TYPE, *FOR_ALL, *others, "REWORKER_DOMIAN"), "x"))
    assert list(found) == []


def test_variable_is_told_once_by_a_host_of_several_workers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("conductor_worker_all_domian", "x")
    WorkerHost(["noop", "sleep"], {"server": "none.invalid"})
    told = [one.message for one in caplog.records if "domian" in one.message]
    assert told == [
        "conductor_worker_all_domian is no property of a worker, and does nothing; "
        "did you mean conductor_worker_all_domain?"
    ]

"""Names of variables of Conductor's SDKs: each counts, also those that do nothing there."""

from __future__ import annotations

from typing import Any

import pytest

from reworker.config import place_in
from reworker.jobs.sources import layers_of

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

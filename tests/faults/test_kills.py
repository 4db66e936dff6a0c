"""Processes killed at many moments: every deployment ends, and what is said of it is true."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.support.effects import Mark
from tests.support.system import BrokerProcess, System
from tests.support.truth import check_all

pytestmark = pytest.mark.fault


def unfinished_count(marks: list[Mark]) -> int:
    """Return how many attempts began and did not end."""
    begun = {mark.attempt for mark in marks if mark.kind == "begin"}
    return len(begun - {mark.attempt for mark in marks if mark.kind == "end"})


@pytest.mark.slow
def test_deployments_end_truly_when_the_worker_is_killed(
    system: System, moments: random.Random, moment_count: int
) -> None:
    system.run()
    hit_count = 0
    for _ in range(moment_count):
        system.wait_for_moment(moments, system.submit_mixed())
        assert system.worker
        system.worker.kill9()
        hit_count += bool(unfinished_count(system.marks()))
        system.start_worker()
    outcomes = check_all(system)
    assert hit_count > moment_count / 2, "most kills should strike in the middle of a step"
    assert outcomes["completed"] >= 2 * moment_count, "those that may be repeated, and those decided upon"


@pytest.mark.slow
def test_deployments_end_truly_when_the_core_is_killed(
    system: System, moments: random.Random, moment_count: int
) -> None:
    system.run()
    for _ in range(moment_count):
        system.wait_for_moment(moments, system.submit_mixed())
        assert system.core
        system.core.kill9()
        system.start_core()
    outcomes = check_all(system)
    assert outcomes["completed"] >= 2 * moment_count


@pytest.mark.slow
def test_deployments_end_truly_when_the_embedded_broker_is_killed(
    broker_process: BrokerProcess,
    new_system: Callable[[str], System],
    moments: random.Random,
    moment_count: int,
) -> None:
    system = new_system(broker_process.url)
    system.run()
    for _ in range(moment_count):
        system.wait_for_moment(moments, system.submit_mixed())
        broker_process.kill_and_start()
    outcomes = check_all(system)
    assert outcomes["completed"] >= 2 * moment_count

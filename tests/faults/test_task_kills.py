"""A core that is killed while it works with tasks: each ends in one true status, and none is run twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from reworker.core.service import Service
from reworker.core.tasks.schedule_drafts import ScheduleDraft
from reworker.drill.faults import EXIT_CODE, VARIABLE
from reworker.storage.task_rows import TaskRow
from tests.integration.core_support import Cores
from tests.integration.tasks_support import CodeHands, queue, rows, upload
from tests.support.processes import Process
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault

TASK_COUNT, SCHEDULE_COUNT = 60, 20
#: commits of a core, among them those of its desk, up to which it is killed.
COMMIT_COUNT = 40
PLACES = [
    pytest.param("embedded", "sqlite", id="alone"),
    pytest.param("rabbitmq", "postgres", id="servers", marks=[pytest.mark.rabbitmq, pytest.mark.postgres]),
]


@pytest.fixture
def cores(process: Callable[..., Process], any_broker_url: str, any_database_url: str) -> Iterator[Cores]:
    made = Cores(process, any_broker_url, any_database_url)
    yield made
    made.close()


@pytest.fixture
def hands(any_broker_url: str) -> Iterator[CodeHands]:
    made = CodeHands(any_broker_url, work_s=0.05)
    yield made
    made.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("any_broker_url", "any_database_url"), PLACES, indirect=True)
def test_each_task_has_one_true_end_when_cores_are_killed_at_a_commit(
    cores: Cores, hands: CodeHands, moments: random.Random
) -> None:
    service = cores.service
    code = upload(service, "Fib", max_concurrency=4)
    hands.take(code)
    project = service.projects.find("default")
    service.schedules.add(project, [ScheduleDraft("Fib")] * SCHEDULE_COUNT)
    queue(service, "Fib", TASK_COUNT)
    exit_codes = []
    for point in ("before-commit", "after-commit", "before-commit"):
        fault = f"core.{point}:{moments.randint(4, COMMIT_COUNT)}"
        core = cores.launch("one", **{VARIABLE: fault})
        wait_until(partial(_has_died, core, service), 90)
        exit_codes.append(core.exit_code)
        core.kill9()
    assert exit_codes.count(EXIT_CODE) >= 2
    cores.start("one")
    wait_until(lambda: _are_over(service), 90)
    found = rows(service)
    assert len(found) == TASK_COUNT + SCHEDULE_COUNT
    assert set(hands.runs.values()) == {1}
    assert [(row.id, row.status) for row in found] == [(row.id, _truth(row, hands)) for row in found]
    assert service.schedules.counts(project) == {"complete": SCHEDULE_COUNT}
    assert hands.most["Fib"] <= 4


def _has_died(core: Process, service: Service) -> bool:
    return not core.is_running or _are_over(service)


def _are_over(service: Service) -> bool:
    found = rows(service)
    return len(found) == TASK_COUNT + SCHEDULE_COUNT and all(row.phase == "over" for row in found)


def _truth(row: TaskRow, hands: CodeHands) -> str:
    if hands.runs[row.id]:
        return "complete"
    # Nobody could say whether its message was sent, so it was not sent again: it might have run twice.
    return "killed" if "the core stopped while publishing it" in row.msg else "a lie"

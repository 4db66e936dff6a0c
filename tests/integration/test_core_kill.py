"""A core that is killed again and again: the deployment still ends in a true state."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from reworker.core import history
from reworker.fsm.events import Decision
from tests.component.core.kit import playbook
from tests.integration.core_support import CoreProcess, EchoWorker
from tests.support.processes import Process
from tests.support.waiting import wait_until

KILL_COUNT = 6
#: steps between two kills, so that each hits another moment of a step's life.
STEPS_PER_KILL = 6


@pytest.fixture
def worker(any_broker_url: str) -> Iterator[EchoWorker]:
    made = EchoWorker(any_broker_url)
    yield made
    made.close()


@pytest.fixture
def core(process: Callable[..., Process], any_broker_url: str, tmp_path: Path) -> Iterator[CoreProcess]:
    made = CoreProcess(process, any_broker_url, tmp_path)
    yield made
    made.close()


def steps_done(core: CoreProcess, own_id: str) -> int:
    return core.service.deployment(own_id).state.completed_count


def go_on(core: CoreProcess, own_id: str, count: int) -> bool:
    """Tell whether `count` steps are done, or all; a doubt is decided as a person would."""
    view = core.service.deployment(own_id)
    if view.state.status == "waiting":
        core.service.decide(own_id, view.state.attempts[0].number, Decision.RETRY, actor="test")
    return view.state.completed_count >= count or view.is_over


@pytest.mark.fault
@pytest.mark.parametrize("is_idempotent", [True, False], ids=["idempotent", "once"])
def test_deployment_completes_when_the_core_is_killed_again_and_again(
    core: CoreProcess, worker: EchoWorker, is_idempotent: bool
) -> None:
    moments = random.Random(7)
    step_count = KILL_COUNT * STEPS_PER_KILL
    step = {"noop:Do": {"a": 1}, "idempotent": is_idempotent}
    core.start()
    own_id = core.service.submit(playbook(*[step] * step_count))
    for number in range(1, KILL_COUNT + 1):
        count = (number - 1) * STEPS_PER_KILL + moments.randrange(1, STEPS_PER_KILL)
        wait_until(partial(go_on, core, own_id, count), 60, poll_s=0.005)
        core.process.kill9()
        core.start()
    wait_until(lambda: go_on(core, own_id, step_count), 60)
    assert core.service.deployment(own_id).state.status == "completed"
    assert steps_done(core, own_id) == step_count
    assert history.problems(core.reader, own_id) == []
    if not is_idempotent:
        assert set(worker.runs.values()) == {1}, "no attempt ran twice"


def test_core_ends_quietly_when_told_to_and_goes_on_after_a_start(
    core: CoreProcess, worker: EchoWorker
) -> None:
    core.start()
    own_id = core.service.submit(playbook(*["noop:Do"] * 200))
    wait_until(lambda: steps_done(core, own_id) > 5, poll_s=0.005)
    assert core.process.terminate() == 0
    assert not core.service.deployment(own_id).is_over
    core.start()
    wait_until(lambda: core.service.deployment(own_id).is_over, 60)
    view = core.service.deployment(own_id)
    assert view.state.status == "completed", "a quiet end leaves no doubt"
    assert set(worker.runs.values()) == {1}

"""SIGTERM, which people and service managers send: what runs is finished, what does not goes on later."""

from __future__ import annotations

import random
import signal

import pytest

from tests.support.effects import AGAIN, ONCE
from tests.support.system import READY_S, System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault


def wait_for_begin(system: System) -> None:
    """Wait until a step is in its middle."""
    wait_until(system.marks, READY_S, "the first effect to begin")


def test_worker_finishes_its_step_and_exits_with_0_when_it_is_told_to_stop(system: System) -> None:
    system.run()
    own_id = system.submit(ONCE, seconds=0.8, hosts=["a"], step_count=2)
    wait_for_begin(system)
    assert system.worker.terminate() == 0
    marks = system.marks()
    assert [mark.kind for mark in marks] == ["begin", "end"], "the step that ran, and no other"
    system.start_worker()
    assert system.wait_for_rest([own_id])[0].state.status == "completed"
    assert [mark.kind for mark in system.marks()] == ["begin", "end"] * 2
    check_all(system)


def test_worker_stops_at_once_when_it_is_told_twice(system: System) -> None:
    system.run()
    kept, lost = (system.submit(key, seconds=3, hosts=["a"], step_count=1) for key in (AGAIN, ONCE))
    wait_until(lambda: len(system.marks()) == 2, READY_S, "two steps in their middle")
    system.worker.send_signal(signal.SIGTERM)
    system.worker.wait_for_line("stopping", READY_S)
    assert system.worker.terminate(timeout_s=2) != 0, "it did not finish what it had begun"
    assert len(system.marks()) == 2
    system.workers.clear()
    system.start_worker()
    assert [view.state.status for view in system.wait_for_rest([kept, lost])] == ["completed", "failed"]
    check_all(system)


@pytest.mark.slow
def test_core_leaves_no_doubt_when_it_is_told_to_stop(system: System, moments: random.Random) -> None:
    system.run()
    for _ in range(3):
        system.wait_for_moment(moments, system.submit_mixed())
        assert system.core.terminate() == 0
        system.start_core()
    system.wait_for_rest()
    assert check_all(system) == {"completed": 9}

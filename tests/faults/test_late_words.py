"""Steps that nobody took in time, and replies that waited for a core which was away."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from reworker.clock import SystemClock
from reworker.drill.worker import ONCE
from reworker.topology import names
from tests.support.system import READY_S, System, message_counts
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault]

QUEUE_TIMEOUT_S = 3.0


def submit(system: System) -> str:
    """Start a deployment of one step that has to begin soon."""
    step = {ONCE: {"number": 0}, "queue_timeout": QUEUE_TIMEOUT_S}
    document = {"group": "drill", "name": "soon", "execution": [{"hosts": ["a"], "steps": [step]}]}
    return system.service.submit(json.dumps(document), unattended=True)


def wait_until_sent(system: System, own_id: str) -> None:
    """Wait until the step lies in the worker's queue and its time runs."""

    def is_sent() -> bool:
        return any(one.row.status == "sent" for one in system.service.attempts(own_id))

    wait_until(is_sent, READY_S, "the step to be sent")


@pytest.fixture
def system(new_system: Callable[..., System], broker_url: str) -> System:
    """Give a system that runs, whose worker stands still."""
    made = new_system(broker_url)
    made.run(instances=1)
    made.worker.send_signal(signal.SIGSTOP)
    return made


def test_reply_counts_when_the_core_was_away_until_after_the_queue_timeout(system: System) -> None:
    own_id = submit(system)
    wait_until_sent(system, own_id)
    system.core.kill9()
    system.worker.send_signal(signal.SIGCONT)
    wait_until(lambda: message_counts(system.url)[names.REPLY_QUEUE] >= 2, READY_S, "the replies")
    (timer,) = system.storage.reader.timers()
    wait_until(lambda: SystemClock().now() > timer.due_at, READY_S, "the timer to be due")
    system.start_core()
    (view,) = system.wait_for_rest([own_id])
    assert view.state.status == "completed"
    system.stop()


def test_step_is_not_done_when_its_worker_comes_after_the_queue_timeout(system: System) -> None:
    own_id = submit(system)
    wait_until_sent(system, own_id)
    system.worker.kill9()
    (view,) = system.wait_for_rest([own_id])
    assert view.state.status == "failed"
    system.start_worker().wait_for_line("consuming", READY_S)
    wait_until(lambda: not any(message_counts(system.url).values()), READY_S, "the queues to be empty")
    system.stop()
    assert system.marks() == []

"""SIGTERM, which people and service managers send: what runs is finished, what does not goes on later."""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.broker.server import BrokerThread
from reworker.bus.contract import Verdict
from reworker.drill.worker import AGAIN, ONCE
from reworker.pool.signals import AT_ONCE_EXIT_CODE
from tests.support.beds import QUEUE, TOPOLOGY, NetworkBed, consuming, publish_all
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.system import READY_S, AllInOne, System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = pytest.mark.fault


def wait_for_begin(system: System) -> None:
    """Wait until a step is in its middle."""
    wait_until(system.marks, READY_S, "the first effect to begin")


def test_worker_finishes_its_step_and_exits_with_0_when_it_is_told_to_stop(system: System) -> None:
    system.run()
    own_id = system.submit(ONCE, seconds=2, hosts=["a"], step_count=2)
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
    kept, lost = (system.submit(key, seconds=6, hosts=["a"], step_count=1) for key in (AGAIN, ONCE))
    wait_until(lambda: len(system.marks()) == 2, READY_S, "two steps in their middle")
    system.worker.send_signal(signal.SIGTERM)
    system.worker.wait_for_line("stopping", READY_S)
    assert system.worker.terminate(timeout_s=5) != 0, "it did not finish what it had begun"
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
        system.start_core().wait_for_line("core .* runs on", READY_S)
    system.wait_for_rest()
    assert check_all(system) == {"completed": 9}


def test_core_and_worker_go_on_when_they_are_told_to_hang_up(
    new_system: Callable[..., System], broker_url: str
) -> None:
    system = new_system(broker_url)
    system.run()
    own_id = system.submit(ONCE, seconds=0.3, hosts=["a"], step_count=2)
    wait_for_begin(system)
    for one in (system.core, system.worker):
        one.send_signal(signal.SIGHUP)
    assert system.wait_for_rest([own_id])[0].state.status == "completed"
    assert check_all(system) == {"completed": 1}


def test_core_stops_at_once_when_it_is_told_twice(new_system: Callable[..., System], broker_url: str) -> None:
    system = new_system(broker_url)
    with Proxy.for_url(broker_url) as proxy:
        system.core_url = proxy.url(broker_url)
        system.run()
        proxy.freeze()
        system.submit(AGAIN, hosts=["a"], step_count=1)
        system.core.send_signal(signal.SIGTERM)
        system.core.wait_for_line("stopping", READY_S)
        assert system.core.terminate() == AT_ONCE_EXIT_CODE
    system.cores.clear()
    system.core_url = broker_url
    system.start_core()
    assert check_all(system) == {"completed": 1}


def test_up_goes_on_when_told_to_hang_up_and_stops_at_once_when_told_twice(
    process: Callable[..., Process], tmp_path: Path
) -> None:
    system = AllInOne(process, tmp_path)
    system.start_up().send_signal(signal.SIGHUP)
    system.submit(ONCE, seconds=60, hosts=["a"], step_count=1)
    wait_for_begin(system)
    system.core.send_signal(signal.SIGTERM)
    system.core.wait_for_line("stopping", READY_S)
    assert system.core.terminate() == AT_ONCE_EXIT_CODE
    assert len(system.marks()) == 1, "it did not finish what it had begun"
    system.close()


def consumer_count(bed: NetworkBed) -> int:
    """Return how many consumers the broker sees."""
    with bed.channel() as channel:
        return int(channel.queue_declare(QUEUE, passive=True).method.consumer_count)


def test_bus_breaks_no_rule_when_a_verdict_comes_while_it_closes(
    broker: BrokerThread, broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reworker.broker")
    bed = NetworkBed(broker_url, broker.block, broker.unblock)
    bus = bed.new_bus()
    bus.open(timeout_s=READY_S)
    bus.declare(TOPOLOGY)
    inbox = consuming(bus)
    publish_all(bus, [b"1"]).wait_for(1)
    (delivery,) = inbox.wait_for(1)
    bed.proxy.freeze(up=False)
    closing = threading.Thread(target=bus.close, kwargs={"deadline_s": 1.0})
    closing.start()
    wait_until(lambda: not consumer_count(bed), READY_S, "the goodbye to be said")
    delivery.settle(Verdict.ACK)
    closing.join(READY_S)
    bed.proxy.thaw()
    wait_until(lambda: bed.message_count(QUEUE) == 1, READY_S, "the delivery to be back")
    bed.close()
    assert "CHANNEL_ERROR" not in caplog.text

"""Connections cut, frozen and silent, and processes that stand still for a while."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy
from tests.support.system import READY_S, System, is_ready
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.slow]

#: seconds between AMQP heartbeats here; a peer is lost after two without one.
HEARTBEAT_S = 1
#: seconds a process stands still: longer than its peer waits for it.
STILL_S = 3.0


@pytest.fixture
def core_proxy(system: System) -> Iterator[Proxy]:
    """Give a proxy between the core and the broker."""
    with Proxy.for_url(system.url) as proxy:
        system.core_url = f"{proxy.url(system.url)}?heartbeat={HEARTBEAT_S}"
        yield proxy


@pytest.fixture
def worker_proxy(system: System) -> Iterator[Proxy]:
    """Give a proxy between the worker and the broker."""
    with Proxy.for_url(system.url) as proxy:
        system.worker_url = f"{proxy.url(system.url)}?heartbeat={HEARTBEAT_S}"
        yield proxy


@pytest.mark.parametrize("any_broker_url", ["rabbitmq"], indirect=True)
@pytest.mark.rabbitmq
def test_deployments_end_truly_when_connections_are_cut(
    system: System, core_proxy: Proxy, worker_proxy: Proxy, moments: random.Random, moment_count: int
) -> None:
    system.run()
    cut_count = 0
    for _ in range(moment_count // 2):
        wait_until(lambda: core_proxy.link_count and worker_proxy.link_count, READY_S, "both to be back")
        system.wait_for_moment(moments, system.submit_mixed())
        for proxy in moments.choice(([core_proxy], [worker_proxy], [core_proxy, worker_proxy])):
            cut_count += proxy.cut(is_reset=bool(moments.getrandbits(1)))
    assert cut_count >= moment_count / 2
    assert check_all(system)["completed"] >= moment_count


@pytest.mark.parametrize("any_broker_url", ["rabbitmq"], indirect=True)
@pytest.mark.rabbitmq
def test_deployments_end_truly_when_connections_freeze_for_a_moment(
    system: System, core_proxy: Proxy, worker_proxy: Proxy, moments: random.Random, moment_count: int
) -> None:
    # with their usual heartbeat: on a busy machine one of a second may be late without any frost
    system.core_url, system.worker_url = (one.url(system.url) for one in (core_proxy, worker_proxy))
    system.run()
    for _ in range(moment_count // 2):
        system.wait_for_moment(moments, system.submit_mixed())
        proxy = moments.choice((core_proxy, worker_proxy))
        up, down = moments.choice(((True, False), (False, True), (True, True)))
        proxy.freeze(up=up, down=down)
        time.sleep(moments.uniform(0.02, 0.3))  # how long it is frozen, shorter than anybody's patience
        proxy.thaw()
    check_all(system)
    assert "lost" not in system.worker.output


def test_worker_stays_when_its_connection_is_cut_while_it_starts(
    system: System, worker_proxy: Proxy, moments: random.Random
) -> None:
    system.start_core()
    for number in range(6):
        worker = system.start_worker()
        wait_until(lambda goal=number: worker_proxy.accepted_count > goal, READY_S, poll_s=0.001)
        time.sleep(moments.uniform(0, 0.06))  # the moment: it connects, declares, or consumes already
        worker_proxy.cut()
        wait_until(lambda one=worker: is_ready(one) or not one.is_running, READY_S)
        assert worker.is_running, worker.output
        worker.kill9()
        worker_proxy.accepted_count = number + 1
    system.start_worker()
    system.submit_mixed()
    assert check_all(system) == {"completed": 3}


@pytest.mark.parametrize("any_broker_url", ["rabbitmq"], indirect=True)
@pytest.mark.rabbitmq
def test_deployments_end_truly_when_heartbeats_are_lost(
    system: System, core_proxy: Proxy, worker_proxy: Proxy, moments: random.Random
) -> None:
    # pika looks every 5 s longer than the heartbeat, so this takes 12 s; one kind of broker must do.
    system.run()
    system.wait_for_moment(moments, system.submit_mixed(step_count=10))
    for proxy in (core_proxy, worker_proxy):
        proxy.freeze()
    for one in (system.core, system.worker):
        one.wait_for_line("connection to .* lost", READY_S)
    for proxy in (core_proxy, worker_proxy):
        proxy.thaw()
    assert check_all(system)["completed"] >= 2


@pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
def test_deployments_end_truly_when_a_process_stands_still(
    system: System, core_proxy: Proxy, worker_proxy: Proxy, moments: random.Random
) -> None:
    system.run()
    slow = system.worker
    system.start_worker().wait_for_line("consuming", READY_S)
    for victims in ([slow], [system.core]):
        system.wait_for_moment(moments, system.submit_mixed(step_count=10))
        for one in victims:
            one.send_signal(signal.SIGSTOP)
        time.sleep(STILL_S)  # the fault itself
        for one in victims:
            one.send_signal(signal.SIGCONT)
    slow.wait_for_line("reconnected", READY_S)
    assert check_all(system)["completed"] >= 4

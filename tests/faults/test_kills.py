"""Brokers killed at many moments, alone and with everything else; core and worker: see test_every_point."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reworker.drill.worker import AGAIN, ONCE
from tests.support.processes import Process
from tests.support.rabbitmq import RabbitMQNode
from tests.support.system import AllInOne, BrokerProcess, System
from tests.support.truth import check_all

pytestmark = [pytest.mark.fault, pytest.mark.slow]

#: deployments under way at a restart that is slow, so that it strikes at as many stages.
STAGGERED_COUNT = 20


def strike(system: System, moments: random.Random, moment_count: int, blow: Callable[[], object]) -> None:
    """Run three deployments after three, and strike while each three are on their way."""
    system.run()
    hit_count = 0
    for _ in range(moment_count):
        ids = system.submit_mixed()
        system.wait_for_moment(moments, ids)
        hit_count += bool(system.moving_count(ids))
        blow()
    assert hit_count > moment_count / 2, "most blows should strike in the middle of a deployment"


def test_deployments_end_truly_when_the_embedded_broker_is_killed(
    broker_process: BrokerProcess,
    new_system: Callable[[str], System],
    moments: random.Random,
    moment_count: int,
) -> None:
    system = new_system(broker_process.url)
    strike(system, moments, moment_count // 2, broker_process.kill_and_start)
    assert check_all(system)["completed"] >= moment_count


def test_deployments_end_truly_when_everything_is_killed(
    process: Callable[..., Process], tmp_path: Path, moments: random.Random, moment_count: int
) -> None:
    system = AllInOne(process, tmp_path)
    system.start_up()
    for _ in range(moment_count // 5):
        system.wait_for_moment(moments, system.submit_mixed())
        system.core.kill9()
        system.start_up()
    assert check_all(system)["completed"] >= 2 * (moment_count // 5)
    system.close()


@pytest.mark.rabbitmq
def test_deployments_end_truly_when_rabbitmq_restarts(
    mortal_rabbitmq: RabbitMQNode,
    new_system: Callable[[str], System],
    moments: random.Random,
    moment_count: int,
) -> None:
    node = mortal_rabbitmq
    system = new_system(node.url(node.add_vhost()))
    system.run(instances=STAGGERED_COUNT)
    blows = (node.stop, node.kill)
    for number in range(max(moment_count // 10, len(blows))):
        ids = start_staggered(system, moments)
        blows[number % len(blows)]()
        stages = {system.service.deployment(one).row.last_seq for one in ids}
        assert system.moving_count(ids) >= STAGGERED_COUNT / 2
        assert len(stages) >= STAGGERED_COUNT / 4, f"one restart should strike at many moments: {stages}"
        node.start()
        system.wait_for_rest(ids)
    assert check_all(system)["completed"] >= STAGGERED_COUNT


def start_staggered(system: System, moments: random.Random) -> list[str]:
    """Start deployments one after the other, each with a pace of its own."""
    ids: list[str] = []
    for number in range(STAGGERED_COUNT):
        key, pace_s = (AGAIN, ONCE)[number % 2], moments.uniform(0.1, 0.4)
        ids.append(system.submit(key, unattended=bool(moments.getrandbits(1)), step_count=6, seconds=pace_s))
        time.sleep(moments.uniform(0, 0.06))  # no wait for anything: the distance between two
    return ids

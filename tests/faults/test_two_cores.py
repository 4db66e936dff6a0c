"""Two cores as processes on one PostgreSQL: one is killed or frozen, the other goes on with everything."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import closing

import pika
import pytest

from reworker.bus.inspection import queue_counts
from reworker.config import mq_settings
from reworker.drill.faults import VARIABLE
from reworker.drill.lane import is_still
from reworker.drill.worker import ONCE
from reworker.topology import names
from tests.support.processes import Process
from tests.support.system import READY_S, System, message_counts
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.postgres]

#: seconds in which the other core has to go on with what a dead one had in hand.
TAKEOVER_S = 60.0


@pytest.fixture
def start_core(system: System) -> Callable[..., Process]:
    """Give a function that starts a core of a name and waits until it runs."""

    def start(name: str, **environment: str) -> Process:
        core = system.start_core(REWORKER_CORE_NAME=name, **environment)
        core.wait_for_line(f"core {name} runs on", READY_S)
        return core

    return start


@pytest.fixture
def system(new_system: Callable[..., System], any_broker_url: str, postgres_url: str) -> System:
    """Give a system on PostgreSQL whose worker runs."""
    made = new_system(any_broker_url, postgres_url)
    # a silent connection must be noticed soon: what it holds is delivered to the other core then
    made.core_url = f"{any_broker_url}?heartbeat=1"
    made.start_worker().wait_for_line("consuming", READY_S)
    return made


@pytest.mark.parametrize("any_broker_url", ["rabbitmq"], indirect=True)
@pytest.mark.rabbitmq
def test_other_core_goes_on_with_everything_when_one_is_killed(
    system: System, start_core: Callable[..., Process], moments: random.Random
) -> None:
    first, second = start_core("one"), start_core("two")
    for victim in (first, second):
        ids = [*system.submit_mixed(step_count=4), *system.submit_mixed(step_count=4)]
        system.wait_for_moment(moments, ids)
        assert system.moving_count(ids) > 0
        victim.kill9()
        system.wait_for_rest(ids, TAKEOVER_S)
        if victim is first:
            start_core("one")
    assert check_all(system)["completed"] >= 8


@pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
def test_late_words_of_a_core_change_nothing_when_it_stood_still_longer_than_its_lease(
    system: System, start_core: Callable[..., Process]
) -> None:
    frozen = start_core("frozen", **{VARIABLE: "core.before-publish:5:stop"})
    first_ids = list(system.submit_mixed())
    wait_until(lambda: is_still(frozen.pid), READY_S, "the core to stand still")
    start_core("other")
    second_ids = list(system.submit_mixed())
    system.wait_for_rest(second_ids, TAKEOVER_S)
    # the broker's patience is longer than the lease: by then the claims of the frozen one have ended too
    wait_until(lambda: core_count(system) == 1, READY_S, "the broker to drop the frozen core")
    frozen.send_signal(signal.SIGCONT)
    frozen.wait_for_line("reconnected", READY_S)
    system.wait_for_rest(first_ids, TAKEOVER_S)
    assert frozen.terminate() == 0
    # what it may publish twice it has: that must be taken by the worker and end nowhere
    wait_until(lambda: not any(message_counts(system.url).values()), READY_S, "the queues to be empty")
    assert check_all(system)["completed"] >= 4


def core_count(system: System) -> int:
    """Return how many cores the broker sees."""
    counts = queue_counts(mq_settings(system.url), [names.REPLY_QUEUE])
    return counts[names.REPLY_QUEUE].consumer_count


@pytest.mark.parametrize("any_broker_url", ["embedded"], indirect=True)
def test_reply_counts_once_when_two_cores_get_it(system: System, start_core: Callable[..., Process]) -> None:
    for name in ("one", "two"):
        start_core(name)
    own_id = system.submit(ONCE, hosts=["a"], step_count=3, seconds=0.5)
    wait_until(system.marks, READY_S, "the first step to run")
    publish_copies(system, {"message_id": "the same"}, f"{own_id}.1", 20)
    (view,) = system.wait_for_rest([own_id])
    kinds = [row.kind for row in system.storage.reader.events(own_id) if not row.ignored]
    assert kinds.count("ReplyCompleted") == 3
    assert view.state.status == "completed"


def publish_copies(system: System, properties: dict[str, str], attempt: str, count: int) -> None:
    """Publish a final reply so many times; two consumers get them in turn."""
    with closing(pika.BlockingConnection(pika.URLParameters(system.url))) as connection:
        channel = connection.channel()
        for _ in range(count):
            channel.basic_publish(
                "",
                names.REPLY_QUEUE,
                b'{"status": "completed"}',
                pika.BasicProperties(correlation_id=attempt, **properties),
            )

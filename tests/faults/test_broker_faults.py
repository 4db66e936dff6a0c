"""What people do to a RabbitMQ at work, and what it does by itself: all ends truly, or says why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pika
import pytest

from reworker.bus.inspection import queue_counts
from reworker.config import mq_settings
from reworker.drill.worker import AGAIN, ONCE, SUFFIX
from reworker.topology import names
from tests.faults.conftest import is_per_consumer
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQNode
from tests.support.system import READY_S, System
from tests.support.truth import check_all
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fault, pytest.mark.rabbitmq]

WORK_QUEUE = names.worker_queue(SUFFIX)


@pytest.fixture
def system(new_system: Callable[..., System], rabbitmq_url: str) -> System:
    """Give a system on a real RabbitMQ."""
    return new_system(rabbitmq_url)


@contextmanager
def channel_to(url: str) -> Iterator[Any]:
    """Give a channel of an administrator."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        yield connection.channel()


def submit_bounded(system: System, host: str) -> str:
    """Start a deployment whose steps may be lost: each says how long to wait for it."""
    step = {AGAIN: {"number": 0, "seconds": 0.05}, "idempotent": True, "queue_timeout": "1s", "timeout": "1s"}
    steps = [{**step, AGAIN: {"number": number, "seconds": 0.05}} for number in range(4)]
    document = {"group": "drill", "name": host, "execution": [{"hosts": [host], "steps": steps}]}
    return system.service.submit(json.dumps(document), unattended=True)


def consumer_counts(url: str) -> dict[str, int]:
    """Return how many consumers the queues of core and worker have."""
    found = queue_counts(mq_settings(url), (names.REPLY_QUEUE, WORK_QUEUE))
    return {name: counts.consumer_count for name, counts in found.items()}


def test_step_ends_with_a_reason_when_its_queue_is_purged(system: System, rabbitmq_url: str) -> None:
    system.run()
    assert system.worker.terminate() == 0
    own_id = submit_bounded(system, "purged")
    wait_until(lambda: purged_count(rabbitmq_url), READY_S, "the step to be in its queue")
    (view,) = system.wait_for_rest([own_id])
    assert view.state.status == "failed"
    assert "no worker" in view.state.reason or "took" in view.state.reason
    system.start_worker()
    system.submit(ONCE)
    assert check_all(system) == {"completed": 1}


def purged_count(url: str) -> int:
    """Purge the worker's queue and return how many messages it had."""
    with channel_to(url) as channel:
        return int(channel.queue_purge(WORK_QUEUE).method.message_count)


def test_deployments_end_when_queues_are_deleted_in_the_middle(system: System, rabbitmq_url: str) -> None:
    system.run()
    ids = [submit_bounded(system, f"deleted-{number}") for number in range(3)]
    wait_until(system.marks, READY_S, "a step to run")
    with channel_to(rabbitmq_url) as channel:
        for name in (names.REPLY_QUEUE, WORK_QUEUE):
            channel.queue_delete(name)
    both = {names.REPLY_QUEUE: 1, WORK_QUEUE: 4}
    wait_until(lambda: consumer_counts(rabbitmq_url) == both, READY_S, "both to consume again")
    assert all(view.is_over for view in system.wait_for_rest(ids))
    assert system.worker.terminate() == 0
    system.marks_file.unlink()  # steps of these were lost with the queues: no truth is asked of them
    system.start_worker()
    system.submit_mixed()
    assert check_all(system) == {"completed": 3}


def test_bindings_are_there_again_when_the_exchange_was_deleted(system: System, rabbitmq_url: str) -> None:
    system.run()
    with channel_to(rabbitmq_url) as channel:
        channel.exchange_delete(names.EXCHANGE)
    (view,) = system.wait_for_rest([submit_bounded(system, "lost")])
    assert view.state.status == "failed"
    assert "no queue is bound" in view.state.reason
    # the core has met it and declared its own again: a job request finds its way
    with channel_to(rabbitmq_url) as channel:
        channel.confirm_delivery()
        channel.basic_publish(names.EXCHANGE, names.OUTPUT_KEY, b'{"message": "a line"}', mandatory=True)
    # the worker has nothing to publish there: it does so when it connects
    assert system.worker.terminate() == 0
    system.start_worker().wait_for_line("consuming", READY_S)
    system.submit_mixed()
    wait_until(lambda: dead_count(rabbitmq_url) == 1, READY_S, "the line without an owner to be set aside")
    assert check_all(system) == {"completed": 3}


def dead_count(url: str) -> int:
    """Return, and forget, how many messages are dead."""
    with channel_to(url) as channel:
        return int(channel.queue_purge(names.DEAD_QUEUE).method.message_count)


def test_both_say_what_is_wrong_when_the_exchange_comes_back_as_another_type(
    system: System, rabbitmq_url: str
) -> None:
    with Proxy.for_url(rabbitmq_url) as proxy:
        system.core_url = system.worker_url = proxy.url(rabbitmq_url)
        system.run()
        with channel_to(rabbitmq_url) as channel:
            channel.exchange_delete(names.EXCHANGE)
            channel.exchange_declare(names.EXCHANGE, "headers", durable=True)
        proxy.cut()
        for one in (system.core, system.worker):
            one.wait_for_line("could not be declared again: .*'re'.*topic", READY_S)
        with channel_to(rabbitmq_url) as channel:
            channel.exchange_delete(names.EXCHANGE)
        wait_until(lambda: is_routed(rabbitmq_url), READY_S, "worker and core to declare it as it was")
        wait_until(lambda: dead_count(rabbitmq_url) == 1, READY_S, "the worker to set our message aside")
        system.submit_mixed()
        assert check_all(system) == {"completed": 3}


def is_routed(url: str) -> bool:
    """Tell whether a step finds the worker's queue; the message is no step."""
    with channel_to(url) as channel:
        channel.confirm_delivery()
        try:
            channel.basic_publish(names.EXCHANGE, names.step_key(SUFFIX), b"{}", mandatory=True)
        except (pika.exceptions.UnroutableError, pika.exceptions.ChannelClosedByBroker):
            return False
    return True


@pytest.mark.parametrize("patterns", ["^$", None], ids=["every resource", "the virtual host"])
def test_deployments_go_on_when_a_permission_was_withdrawn_and_is_given_back(
    system: System, rabbitmq: RabbitMQNode, rabbitmq_url: str, patterns: str | None
) -> None:
    vhost = rabbitmq_url.rpartition("/")[2]
    with Proxy.for_url(rabbitmq_url) as proxy:
        system.core_url = system.worker_url = proxy.url(rabbitmq_url)
        system.run()
        ids = system.submit_mixed(step_count=4, seconds=0.8)
        wait_until(system.marks, READY_S, "a step to run")
        permit(rabbitmq, vhost, patterns)
        proxy.cut()
        for one in (system.core, system.worker):
            one.wait_for_line("refused", READY_S)
        assert system.moving_count(ids) > 0
        permit(rabbitmq, vhost, ".*")
        assert check_all(system)["completed"] >= 1


def permit(node: RabbitMQNode, vhost: str, pattern: str | None) -> None:
    """Let guest do with a virtual host what the pattern says; None is nothing, not even to connect."""
    own = f'<<"guest">>, <<"{vhost}">>'
    if pattern is None:
        node.evaluate(f'rabbit_auth_backend_internal:clear_permissions({own}, <<"test">>)')
        return
    patterns = ", ".join([f'<<"{pattern}">>'] * 3)
    node.evaluate(f'rabbit_auth_backend_internal:set_permissions({own}, {patterns}, <<"test">>)')


def test_deployments_wait_and_go_on_when_rabbitmq_has_no_memory_left(
    system: System, rabbitmq: RabbitMQNode
) -> None:
    system.run()
    before = rabbitmq.evaluate("vm_memory_monitor:get_vm_memory_high_watermark()")
    try:
        rabbitmq.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.00001)")
        wait_until(lambda: "memory" in rabbitmq.evaluate("rabbit_alarm:get_alarms()"), READY_S)
        ids = system.submit_mixed()
        system.core.wait_for_line("the broker blocks publishing", READY_S)
        assert system.moving_count(ids) == 3
    finally:
        rabbitmq.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({before})")
    system.core.wait_for_line("lets us publish again", READY_S)
    assert check_all(system) == {"completed": 3}


def test_step_runs_once_when_rabbitmq_loses_patience_with_its_acknowledgement(
    system: System, rabbitmq: RabbitMQNode
) -> None:
    system.start_core().wait_for_line("runs on", READY_S)
    with changed(rabbitmq, "channel_tick_interval", 200):
        # a channel reads it when it is opened: only this worker's have it
        with changed(rabbitmq, "consumer_timeout", 700):
            system.start_worker().wait_for_line("consuming", READY_S)
        system.submit(ONCE, hosts=["a"], step_count=1, seconds=2)
        if not is_per_consumer():  # else only quorum queues have it, and the worker has asked for longer
            system.worker.wait_for_line("PRECONDITION_FAILED", READY_S)
        system.wait_for_rest()
    assert check_all(system) == {"completed": 1}
    assert [mark.kind for mark in system.marks()] == ["begin", "end"]


@contextmanager
def changed(node: RabbitMQNode, key: str, value: int) -> Iterator[None]:
    """Give the node another setting for a while."""
    before = node.evaluate(f"application:get_env(rabbit, {key})")
    node.evaluate(f"application:set_env(rabbit, {key}, {value})")
    yield
    if before == "undefined":
        node.evaluate(f"application:unset_env(rabbit, {key})")
    else:
        node.evaluate(f"application:set_env(rabbit, {key}, element(2, {before}))")

"""Leases of steps on real brokers: cuts, silence, long steps, many who wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reworker.gateway.contract import CallLater, Completed, Failed, Standing, TaskRules, TaskType
from reworker.messages import StepHeaders, headers_of_step
from tests.integration.gateway_support import KEY, Desk, gateway_on
from tests.integration.worker_support import FakeCore
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

IDEMPOTENT = headers_of_step(StepHeaders(is_idempotent=True))
BEATING = headers_of_step(StepHeaders(heartbeat_s=0.5))
#: seconds of silence that end a lease here; the shortest grace comes on top.
SILENCE_S = 0.3
BODY = b'{"group": "g", "parameters": {"command": "frob", "subcommand": "Frob", "hosts": ["web1"]}}'


@pytest.fixture
def core(any_broker_url: str) -> Iterator[FakeCore]:
    with FakeCore(any_broker_url) as made:
        yield made


@pytest.fixture
def desk(core: FakeCore, any_broker_url: str) -> Iterator[Desk]:
    """Give a gateway whose leases end soon."""
    with gateway_on(any_broker_url, response_timeout_s=SILENCE_S, least_response_timeout_s=SILENCE_S) as made:
        made.offers(made.ask(hold_s=0))
        yield made


def test_step_is_taken_and_completed_once(desk: Desk, core: FakeCore) -> None:
    for number, level in ((1, 2), (2, 1)):
        done = desk.ask()
        attempt = core.send(number, level, KEY)
        (offer,) = desk.offers(done)
        assert desk.complete(offer, level=level).standing is Standing.DONE
        core.wait(attempt, "started", "completed")
        assert desk.complete(offer).standing is Standing.DROPPED
    assert desk.offers(desk.ask(hold_s=0)) == ()
    assert desk.gateway.counts["leases"] == 0


def test_many_steps_are_taken_by_many_who_wait_with_one_channel_and_no_thread(
    desk: Desk, core: FakeCore
) -> None:
    threads_count = threading.active_count()
    health = desk.bus.health()
    polls = [desk.ask(f"w{number}") for number in range(300)]
    wait_until(lambda: desk.gateway.counts["waiting"] == 300)
    assert desk.bus.health().wanted_consumer_count == health.wanted_consumer_count
    assert threading.active_count() <= threads_count + 4
    attempts = [core.send(number, 2, KEY) for number in range(1, 101)]
    wait_until(lambda: sum(bool(one) for one in polls) == 100, 60)
    offers = [offer for one in polls if one for offer in desk.offers(one)]
    assert sorted(one.attempt_id for one in offers) == sorted(attempts)
    for offer in offers:
        desk.report(offer, Completed({}))
    for attempt in attempts:
        core.wait(attempt, "started", "completed")


def test_silent_worker_loses_its_step(desk: Desk, core: FakeCore) -> None:
    careful = core.send(1, 2, KEY)
    first = desk.take("a")
    repeatable = core.send_raw(f"{2:024x}.1", BODY, KEY, headers=IDEMPOTENT)
    second = desk.take("a")
    again = desk.take("b")
    assert again.attempt_id == repeatable
    assert again.task_id != second.task_id
    core.wait(careful, "started", "unknown")
    assert desk.complete(first).standing is Standing.DROPPED
    assert desk.complete(second, by="a").standing is Standing.DROPPED
    assert desk.complete(again, by="b").standing is Standing.DONE
    core.wait(repeatable, "started", "completed")


def test_step_goes_on_later_and_is_tried_again(desk: Desk, core: FakeCore) -> None:
    desk.gateway.rule("frob", TaskRules(retry_count=1, retry_delay_s=1))
    attempt = core.send(1, 2, KEY)
    offer = desk.take("a")
    assert desk.report(offer, CallLater(0.3, {"half": True}))[0].standing is Standing.KEPT
    later = desk.take("b")
    assert (later.poll_count, later.output) == (2, {"half": True})
    desk.report(later, Failed("no", {}))
    again = desk.take("c")
    assert (again.retry_count, again.retried_task_id) == (1, later.task_id)
    desk.complete(again)
    core.wait(attempt, "started", "running", "completed")


def test_lease_and_result_outlive_cuts_of_the_connection(core: FakeCore, any_broker_url: str) -> None:
    with Proxy.for_url(any_broker_url) as proxy, gateway_on(proxy.url(any_broker_url)) as desk:
        desk.offers(desk.ask(hold_s=0))
        first, second = core.send(1, 2, KEY), core.send(2, 1, KEY)
        desk.take("a")
        other = desk.take("b")
        proxy.cut()
        wait_until(lambda: desk.bus.health().reconnect_count == 1 and desk.bus.health().is_connected, 60)
        waiting = desk.ask("c", hold_s=0.5)
        assert desk.offers(waiting) == ()
        proxy.refuse()
        proxy.cut()
        told = desk.report(other, Completed({}))
        proxy.accept()
        wait_until(lambda: told, 60)
        assert told[0].standing is Standing.DONE
        # at level 1 nobody can tell that what was sent again is the same
        wait_until(lambda: list(dict.fromkeys(core.statuses(second))) == ["started", "completed"], 30)
        assert set(core.statuses(first)) == {"started"}


@pytest.mark.rabbitmq
@pytest.mark.slow
def test_lease_longer_than_the_broker_waits_ends_once() -> None:
    with (
        RabbitMQNode(consumer_timeout_s=2.0) as node,
        FakeCore(node.url()) as core,
        gateway_on(f"{node.url()}?ack_timeout=2") as desk,
    ):
        done = desk.ask()
        desk.wait_polled()
        attempt = core.send_raw(f"{1:024x}.1", BODY, KEY, headers=BEATING)
        (offer,) = desk.offers(done)
        wait_until(lambda: core.statuses(attempt).count("running") >= 8, 30)
        assert desk.offers(desk.ask("b", hold_s=0)) == ()
        desk.complete(offer)
        wait_until(lambda: core.statuses(attempt)[-1] == "completed")
        assert core.statuses(attempt).count("started") == 1
        assert desk.bus.health().last_error == ""


def test_lease_outlives_a_restart_of_the_gateway(core: FakeCore, any_broker_url: str, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.db")
    with gateway_on(any_broker_url, ledger=ledger) as before:
        before.offers(before.ask(hold_s=0))
        attempt, other = core.send(1, 2, KEY), core.send(2, 1, KEY)
        offer, second = before.take("a"), before.take("b")
        core.wait(other, "started")
    with gateway_on(any_broker_url, ledger=ledger) as after:
        wait_until(lambda: after.gateway.find(offer.task_id) and after.gateway.find(second.task_id))
        assert after.offers(after.ask("c", hold_s=0)) == ()
        for one in (offer, second):
            assert after.complete(one).standing is Standing.DONE
        core.wait(attempt, "started", "completed")
        core.wait(other, "started", "completed")


@pytest.mark.rabbitmq
@pytest.mark.slow
@pytest.mark.fault
def test_leases_and_results_outlive_a_restart_of_rabbitmq() -> None:
    quorum = TaskType("quorum")
    with (
        RabbitMQNode() as node,
        gateway_on(node.url()) as desk,
        gateway_on(node.url(), queue_type="quorum") as other,
        FakeCore(node.url()) as core,
    ):
        desk.offers(desk.ask(hold_s=0))
        other.offers(other.ask(kind=quorum, hold_s=0))
        attempts = [core.send(number, 2, KEY) for number in (1, 2, 3)]
        attempts += [core.send(number, 2, "worker.quorum") for number in (4, 5, 6)]
        offers = [desk.take("a") for _ in range(3)]
        more = [other.take("b", quorum) for _ in range(2)]
        node.stop()
        told = desk.report(offers[0], Completed({}))
        again = desk.report(offers[0], Completed({}))
        node.start()
        wait_until(lambda: told and again, 60)
        wait_until(lambda: desk.bus.health().is_connected and other.bus.health().is_connected, 60)
        last = other.take("c", quorum)
        ends = [desk.complete(one) for one in offers[1:]] + [other.complete(one) for one in (*more, last)]
        assert {one.standing for one in ends} == {Standing.DONE}
        for one in attempts:
            wait_until(lambda one=one: set(core.statuses(one)) == {"started", "completed"}, 60)  # type: ignore[misc]  # bound on purpose
        assert len({one.properties.message_id for one in core.replies}) == 2 * len(attempts)
        assert desk.offers(desk.ask(hold_s=0)) == ()

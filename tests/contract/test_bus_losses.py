"""The bus contract where something is lost, late, blocked or closed; on every implementation."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from reworker.bus.contract import (
    Bus,
    Outcome,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.errors import AlreadySettled
from tests.support.beds import (
    PATIENCE_S,
    QUEUE,
    TOPOLOGY,
    Bed,
    Inbox,
    Outcomes,
    consuming,
    outgoing,
    publish_all,
    wait_connected,
    wait_consuming,
)
from tests.support.waiting import wait_until

#: how often a connection is cut under load.
CUT_COUNT = int(os.environ.get("REWORKER_BUS_CUTS", "25"))


def test_consumer_works_again_when_its_queue_was_deleted(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus)
    bed.delete_queue(QUEUE)

    def is_delivered() -> bool:
        outcomes = Outcomes()
        bus.publish(outgoing(b"after"), outcomes)
        return outcomes.wait_for(1)[0].outcome is Outcome.CONFIRMED

    wait_until(is_delivered, PATIENCE_S, "the queue to be declared again")
    assert inbox.wait_for(1)[0].body == b"after"
    wait_consuming(bus)
    assert bus.health().reconnect_count == 0


def test_consumer_begins_when_its_queue_appears_later(bus: Bus) -> None:
    other, inbox, late = consuming(bus), Inbox(), QueueSpec("bed.late")
    consumer = bus.consume(late.name, inbox, prefetch=1)
    bus.declare(TopologySpec(queues=(late,)))
    wait_until(lambda: consumer.is_active, PATIENCE_S)
    publish_and_wait(bus, outgoing(b"late", late.name, exchange=""))
    assert inbox.wait_for(1)[0].body == b"late"
    assert other.bodies == []


def test_deaf_bus_says_so(bus: Bus) -> None:
    assert not bus.health().is_deaf
    bus.consume("bed.missing", Inbox(), prefetch=1)
    wait_until(lambda: bus.health().is_deaf, PATIENCE_S)


def test_unsettled_message_is_redelivered_when_the_connection_is_lost(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing(b"1"))
    (stale,) = inbox.wait_for(1)
    bed.cut()
    again = inbox.wait_for(2)[1]
    assert (again.body, again.redelivered) == (b"1", True)
    assert again.consumer_tag != stale.consumer_tag
    stale.settle(Verdict.ACK)  # forgotten silently: its channel is gone
    with pytest.raises(AlreadySettled):
        stale.settle(Verdict.ACK)
    again.settle(Verdict.ACK)
    bus.close()
    assert bed.message_count(QUEUE) == 0


def test_topology_is_declared_again_when_the_connection_returns(bus: Bus, bed: Bed) -> None:
    own = QueueSpec("bed.own", durable=False, exclusive=True)
    bus.declare(TopologySpec(queues=(own,)))
    inbox = Inbox()
    bus.consume(own.name, inbox, prefetch=1)
    wait_consuming(bus)
    bed.cut()
    wait_connected(bus, 1)
    wait_consuming(bus)
    publish_and_wait(bus, outgoing(b"1", own.name, exchange=""))
    assert inbox.wait_for(1)[0].body == b"1"


def test_publish_waits_when_the_connection_is_down(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus, prefetch=0)
    bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    bodies = [b"%d" % number for number in range(20)]
    outcomes = publish_all(bus, bodies)
    bed.start()
    assert {result.outcome for result in outcomes.wait_for(20)} == {Outcome.CONFIRMED}
    inbox.wait_for(20)
    assert inbox.bodies == bodies


def test_publish_and_consume_before_open_take_effect_with_it(bed: Bed) -> None:
    first = bed.new_bus("first")
    first.open(timeout_s=PATIENCE_S)
    first.declare(TOPOLOGY)
    bus, inbox, outcomes = bed.new_bus(), Inbox(), Outcomes()
    bus.consume(QUEUE, inbox, prefetch=1)
    bus.publish(outgoing(b"early"), outcomes)
    bus.open(timeout_s=PATIENCE_S)
    assert outcomes.wait_for(1)[0].outcome is Outcome.CONFIRMED
    assert inbox.wait_for(1)[0].body == b"early"


def test_unconfirmed_publish_is_sent_again_when_it_may_be(bus: Bus, bed: Bed) -> None:
    bed.silence()
    outcomes = publish_all(bus, [b"1", b"2"])
    wait_until(lambda: bed.message_count(QUEUE) == 2, PATIENCE_S)
    bed.stop()
    bed.end_silence()
    bed.start()
    assert {result.outcome for result in outcomes.wait_for(2)} == {Outcome.CONFIRMED}
    assert len(outcomes.results) == 2
    assert bed.message_count(QUEUE) == 4  # at least once: both are there twice


def test_unconfirmed_publish_is_lost_when_it_may_not_be_sent_again(bus: Bus, bed: Bed) -> None:
    outcomes = Outcomes()
    bed.silence()
    bus.publish(outgoing(b"once", may_resend=False), outcomes)
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    bed.stop()
    bed.end_silence()
    bed.start()
    (result,) = outcomes.wait_for(1)
    assert (result.outcome, result.is_sent) == (Outcome.LOST, True)
    publish_and_wait(bus, outgoing(b"next"))
    assert bed.message_count(QUEUE) == 2


def test_publish_is_never_sent_when_its_deadline_passed_before(bus: Bus, bed: Bed) -> None:
    outcomes = Outcomes()
    bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    bus.publish(outgoing(b"late"), outcomes, deadline_s=0.05)
    (result,) = outcomes.wait_for(1)
    assert (result.outcome, result.is_sent) == (Outcome.TIMED_OUT, False)
    bed.start()
    publish_and_wait(bus, outgoing(b"next"))
    assert bed.message_count(QUEUE) == 1
    assert len(outcomes.results) == 1


def test_publish_times_out_as_sent_when_no_confirm_comes(bus: Bus, bed: Bed) -> None:
    outcomes = Outcomes()
    bed.silence()
    bus.publish(outgoing(), outcomes, deadline_s=1.0)
    (result,) = outcomes.wait_for(1)
    assert (result.outcome, result.is_sent) == (Outcome.TIMED_OUT, True)
    bed.end_silence()
    publish_and_wait(bus, outgoing())
    assert len(outcomes.results) == 1
    assert bus.health().unconfirmed_count == 0


def test_publishing_waits_when_the_broker_blocks(bus: Bus, bed: Bed) -> None:
    inbox, first, second = consuming(bus), Outcomes(), Outcomes()
    bed.block()
    bus.publish(outgoing(b"1"), first)  # a broker says so when somebody publishes
    wait_until(lambda: bus.health().is_blocked, PATIENCE_S)
    bus.publish(outgoing(b"2", may_resend=False), second, deadline_s=0.2)
    (result,) = second.wait_for(1)
    assert (result.outcome, result.is_sent) == (Outcome.TIMED_OUT, False)
    bed.unblock()
    assert first.wait_for(1)[0].outcome is Outcome.CONFIRMED
    wait_until(lambda: not bus.health().is_blocked, PATIENCE_S)
    publish_and_wait(bus, outgoing(b"3"))
    inbox.wait_for(2)
    assert inbox.bodies == [b"1", b"3"]


def test_every_publish_ends_once_when_the_bus_is_closed(bus: Bus, bed: Bed) -> None:
    bed.stop()
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    outcomes = publish_all(bus, [b"1", b"2", b"3"])
    bus.close(deadline_s=0.1)
    assert [(result.outcome, result.is_sent) for result in outcomes.results] == [
        (Outcome.TIMED_OUT, False)
    ] * 3
    bus.publish(outgoing(), outcomes)
    assert len(outcomes.results) == 4


def test_close_flushes_what_is_pending(bus: Bus, bed: Bed) -> None:
    outcomes = publish_all(bus, [b"%d" % number for number in range(300)])
    bus.close()
    assert {result.outcome for result in outcomes.results} == {Outcome.CONFIRMED}
    assert bed.message_count(QUEUE) == 300


def test_close_is_safe_twice_and_when_never_opened(bus: Bus, bed: Bed) -> None:
    bus.close()
    bus.close()
    bed.new_bus().close()
    assert not bus.health().is_connected


def test_callback_may_close_the_bus(bus: Bus) -> None:
    bus.publish(outgoing(), lambda _result: bus.close())
    wait_until(lambda: not bus.health().is_connected, PATIENCE_S)
    bus.close()


@pytest.mark.slow
@pytest.mark.fault
def test_nothing_is_lost_when_the_connection_is_cut_again_and_again_under_load(bus: Bus, bed: Bed) -> None:
    seen: Counter[bytes] = Counter()

    def on_delivery(delivery: object) -> None:
        seen[delivery.body] += 1  # type: ignore[attr-defined]  # a Delivery
        delivery.settle(Verdict.ACK)  # type: ignore[attr-defined]  # a Delivery

    bus.consume(QUEUE, on_delivery, prefetch=10)
    outcomes, sent = Outcomes(), 0
    for cut_count in range(1, CUT_COUNT + 1):
        for _ in range(20):
            bus.publish(outgoing(b"%d" % sent), outcomes)
            sent += 1
        bed.cut()
        wait_connected(bus, cut_count)
    assert {result.outcome for result in outcomes.wait_for(sent)} == {Outcome.CONFIRMED}
    wait_until(lambda: len(seen) == sent, PATIENCE_S, "every message to be seen")
    assert len(outcomes.results) == sent
    wait_until(lambda: bed.message_count(QUEUE) == 0, PATIENCE_S)

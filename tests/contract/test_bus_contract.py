"""The bus contract on every implementation: in memory, the embedded broker, RabbitMQ."""

from __future__ import annotations

import threading

import pytest

from reworker.bus.contract import (
    Bus,
    DeclareMode,
    Outcome,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_wait,
)
from reworker.errors import AlreadySettled, TopologyMismatch, Unroutable
from tests.support.beds import (
    DEAD_QUEUE,
    EXCHANGE,
    PATIENCE_S,
    QUEUE,
    TOPOLOGY,
    Bed,
    Inbox,
    Outcomes,
    consuming,
    outgoing,
    publish_all,
)
from tests.support.waiting import wait_until


def test_publish_is_confirmed_and_delivered_when_a_queue_is_bound(bus: Bus) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing(b'{"a": 1}'))
    (delivery,) = inbox.wait_for(1)
    assert delivery.body == b'{"a": 1}'
    assert (delivery.exchange, delivery.routing_key, delivery.queue) == (EXCHANGE, "work.a", QUEUE)
    assert not delivery.redelivered


def test_properties_arrive_as_they_were_sent(bus: Bus) -> None:
    inbox = consuming(bus)
    values = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "headers": {"text": "höst", "number": 7, "flag": True, "list": ["a", 1], "map": {"deep": None}},
        "priority": 3,
        "correlation_id": "0123.1",
        "reply_to": "replies",
        "expiration": "60000",
        "message_id": "m-1",
        "timestamp": 1_700_000_000,
        "type": "step",
        "app_id": "test",
    }
    publish_and_wait(bus, outgoing(**values))
    received = inbox.wait_for(1)[0].properties
    assert {name: getattr(received, name) for name in values} == values


def test_properties_are_none_when_absent(bus: Bus) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    received = inbox.wait_for(1)[0].properties
    absent = set(Properties.__struct_fields__) - {"delivery_mode"}
    assert {getattr(received, name) for name in absent} == {None}


@pytest.mark.parametrize("size_bytes", [0, 1, 131_063, 131_064, 131_065, 1_000_000])
def test_body_arrives_whole_whatever_its_size(bus: Bus, size_bytes: int) -> None:
    inbox = consuming(bus)
    body = bytes(i % 251 for i in range(997)) * (size_bytes // 997 + 1)
    publish_and_wait(bus, outgoing(body[:size_bytes]))
    assert inbox.wait_for(1)[0].body == body[:size_bytes]


def test_publish_is_returned_when_no_queue_is_bound(bus: Bus) -> None:
    outcomes = Outcomes()
    bus.publish(outgoing(key="nobody.listens"), outcomes)
    (result,) = outcomes.wait_for(1)
    assert (result.outcome, result.reply_code) == (Outcome.RETURNED, 312)


def test_publish_and_wait_raises_when_no_queue_is_bound(bus: Bus) -> None:
    with pytest.raises(Unroutable, match=r"nobody\.listens"):
        publish_and_wait(bus, outgoing(key="nobody.listens"))


def test_only_the_unroutable_publish_is_returned_when_others_surround_it(bus: Bus) -> None:
    consuming(bus)
    results: dict[int, Published] = {}
    for number in range(30):
        key = "nobody.listens" if number % 3 == 0 else "work.a"
        bus.publish(outgoing(b"%d" % number, key), lambda result, n=number: results.__setitem__(n, result))
    wait_until(lambda: len(results) == 30, PATIENCE_S)
    returned = {number for number, result in results.items() if result.outcome is Outcome.RETURNED}
    assert returned == set(range(0, 30, 3))


def test_publish_is_returned_and_others_go_on_when_the_exchange_is_missing(bus: Bus) -> None:
    inbox = consuming(bus)
    before, missing, after = Outcomes(), Outcomes(), Outcomes()
    bus.publish(outgoing(b"before"), before)
    bus.publish(outgoing(b"x", exchange="no.such"), missing)
    bus.publish(outgoing(b"after"), after)
    (result,) = missing.wait_for(1)
    assert (result.outcome, result.reply_code) == (Outcome.RETURNED, 404)
    assert "no.such" in result.reason
    assert before.wait_for(1)[0].outcome is Outcome.CONFIRMED
    assert after.wait_for(1)[0].outcome is Outcome.CONFIRMED
    wait_until(lambda: {b"before", b"after"} <= set(inbox.bodies), PATIENCE_S)


def test_publishes_keep_their_order(bus: Bus) -> None:
    inbox = consuming(bus, prefetch=0)
    bodies = [b"%d" % number for number in range(500)]
    publish_all(bus, bodies).wait_for(500)
    inbox.wait_for(500)
    assert inbox.bodies == bodies


def test_publishes_of_several_threads_all_arrive(bus: Bus) -> None:
    inbox = consuming(bus, prefetch=0)
    collected: list[Outcomes] = []

    def publish(letter: str) -> None:
        collected.append(publish_all(bus, [f"{letter}{number}".encode() for number in range(200)]))

    threads = [threading.Thread(target=publish, args=(letter,)) for letter in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    inbox.wait_for(600)
    for letter in "abc":
        mine = [body for body in inbox.bodies if body.startswith(letter.encode())]
        assert mine == [f"{letter}{number}".encode() for number in range(200)]
    for outcomes in collected:
        assert {result.outcome for result in outcomes.wait_for(200)} == {Outcome.CONFIRMED}


def test_prefetch_limits_what_is_delivered(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus, prefetch=2)
    publish_all(bus, [b"1", b"2", b"3"]).wait_for(3)
    inbox.wait_for(2)
    wait_until(lambda: bed.message_count(QUEUE) == 1, PATIENCE_S)
    assert inbox.bodies == [b"1", b"2"]
    inbox.deliveries[0].settle(Verdict.ACK)
    inbox.wait_for(3)
    assert inbox.bodies == [b"1", b"2", b"3"]


def test_ack_removes_the_message(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    inbox.wait_for(1)[0].settle(Verdict.ACK)
    bus.close()
    assert bed.message_count(QUEUE) == 0


def test_requeue_delivers_again_and_says_so(bus: Bus) -> None:
    inbox = consuming(bus, prefetch=1)
    publish_all(bus, [b"1", b"2"]).wait_for(2)
    inbox.wait_for(1)[0].settle(Verdict.REQUEUE)
    again = inbox.wait_for(2)[1]
    assert (again.body, again.redelivered) == (b"1", True)


def test_dead_letter_moves_the_message(bus: Bus, bed: Bed) -> None:
    inbox, dead = consuming(bus), Inbox()
    bus.consume(DEAD_QUEUE, dead, prefetch=1)
    publish_and_wait(bus, outgoing(b"poison"))
    inbox.wait_for(1)[0].settle(Verdict.DEAD_LETTER)
    (delivery,) = dead.wait_for(1)
    assert delivery.body == b"poison"
    assert delivery.properties.headers
    death = delivery.properties.headers["x-death"][0]
    assert (death["queue"], death["reason"], death["count"]) == (QUEUE, "rejected", 1)


def test_second_settle_raises(bus: Bus) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    (delivery,) = inbox.wait_for(1)
    delivery.settle(Verdict.ACK)
    with pytest.raises(AlreadySettled):
        delivery.settle(Verdict.REQUEUE)


def test_exactly_one_settle_wins_when_threads_race(bus: Bus) -> None:
    inbox = consuming(bus)
    publish_and_wait(bus, outgoing())
    (delivery,) = inbox.wait_for(1)
    start, refusals = threading.Barrier(8), []

    def settle() -> None:
        start.wait()
        try:
            delivery.settle(Verdict.ACK)
        except AlreadySettled as error:
            refusals.append(error)

    threads = [threading.Thread(target=settle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 7


def test_every_verdict_is_kept_when_settled_out_of_order(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus, prefetch=0)
    publish_all(bus, [b"%d" % number for number in range(90)]).wait_for(90)
    deliveries = inbox.wait_for(90)
    shuffled = deliveries[1::2] + deliveries[::2][::-1]
    for delivery in shuffled:
        is_poison = int(delivery.body) % 10 == 0
        delivery.settle(Verdict.DEAD_LETTER if is_poison else Verdict.ACK)
    bus.close()
    assert bed.message_count(QUEUE) == 0
    wait_until(lambda: bed.message_count(DEAD_QUEUE) == 9, PATIENCE_S)


def test_unsettled_message_comes_back_when_the_bus_is_closed(bus: Bus, bed: Bed) -> None:
    inbox = consuming(bus)
    publish_all(bus, [b"1", b"2", b"3"]).wait_for(3)
    deliveries = inbox.wait_for(3)
    deliveries[1].settle(Verdict.ACK)
    bus.close()
    wait_until(lambda: bed.message_count(QUEUE) == 2, PATIENCE_S)
    other = bed.new_bus("other")
    other.open(timeout_s=PATIENCE_S)
    again = consuming(other)
    assert [(d.body, d.redelivered) for d in again.wait_for(2)] == [(b"1", True), (b"3", True)]


def test_cancelled_consumer_gets_nothing_more_but_can_settle(bus: Bus, bed: Bed) -> None:
    inbox = Inbox()
    consumer = bus.consume(QUEUE, inbox, prefetch=1)
    publish_and_wait(bus, outgoing(b"1"))
    (delivery,) = inbox.wait_for(1)
    consumer.cancel()
    consumer.cancel()
    wait_until(lambda: not consumer.is_active, PATIENCE_S)
    publish_and_wait(bus, outgoing(b"2"))
    delivery.settle(Verdict.ACK)
    bus.close()
    assert inbox.bodies == [b"1"]
    assert bed.message_count(QUEUE) == 1


def test_two_consumers_share_a_queue(bus: Bus) -> None:
    first, second = consuming(bus, prefetch=1), consuming(bus, prefetch=1)
    publish_all(bus, [b"1", b"2"]).wait_for(2)
    assert {first.wait_for(1)[0].body, second.wait_for(1)[0].body} == {b"1", b"2"}


def test_queue_that_says_it_is_classic_is_the_same_as_one_that_says_nothing(bus: Bus) -> None:
    classic = {"x-queue-type": "classic"}
    for name, arguments in (("bed.said", (classic, {})), ("bed.unsaid", ({}, classic))):
        for one in arguments:
            bus.declare(TopologySpec(queues=(QueueSpec(name, arguments=one),)))


def test_declare_raises_when_a_queue_has_other_arguments(bus: Bus) -> None:
    other = TopologySpec(queues=(QueueSpec(QUEUE, arguments={"x-max-length": 5}),))
    with pytest.raises(TopologyMismatch) as caught:
        bus.declare(other)
    assert (caught.value.name, caught.value.reply_code) == (QUEUE, 406)
    assert "x-max-length" in caught.value.expected
    publish_and_wait(bus, outgoing())


def test_verify_raises_when_a_queue_is_missing(bus: Bus) -> None:
    with pytest.raises(TopologyMismatch) as caught:
        bus.declare(TopologySpec(queues=(QueueSpec("bed.absent"),)), DeclareMode.VERIFY)
    assert (caught.value.name, caught.value.reply_code) == ("bed.absent", 404)
    publish_and_wait(bus, outgoing())


def test_verify_and_off_change_nothing_when_all_is_there(bus: Bus) -> None:
    bus.declare(TOPOLOGY, DeclareMode.VERIFY)
    bus.declare(TopologySpec(queues=(QueueSpec("bed.off"),)), DeclareMode.OFF)
    with pytest.raises(Unroutable):
        publish_and_wait(bus, outgoing(key="bed.off", exchange=""))


def test_callbacks_run_on_one_thread_that_is_not_the_callers(bus: Bus) -> None:
    inbox, threads = consuming(bus), set()
    done = threading.Event()

    def on_done(_result: Published) -> None:
        threads.add(threading.current_thread())
        done.set()

    bus.publish(outgoing(), on_done)
    assert done.wait(PATIENCE_S)
    inbox.wait_for(1)
    assert threads == inbox.threads
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_callback_may_publish_and_settle(bus: Bus) -> None:
    replies = Outcomes()

    def on_delivery(delivery: object) -> None:
        bus.publish(outgoing(b"reply", DEAD_QUEUE, exchange=""), replies)
        delivery.settle(Verdict.ACK)  # type: ignore[attr-defined]  # a Delivery

    bus.consume(QUEUE, on_delivery, prefetch=1)
    publish_all(bus, [b"%d" % number for number in range(10)]).wait_for(10)
    assert {result.outcome for result in replies.wait_for(10)} == {Outcome.CONFIRMED}

"""Queues: order, turns, limits and time, without a socket or a real clock."""

from __future__ import annotations

import time

import pytest

from reworker.broker.consumers import Consumer
from reworker.broker.vhost import VHost
from tests.unit.broker.fakes import FakeRuntime, FakeSink, make_queue, message


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def vhost(runtime: FakeRuntime) -> VHost:
    return VHost("/", runtime)


def bodies(queue: object) -> list[bytes]:
    taken = []
    while (entry := queue.take()) is not None:  # type: ignore[attr-defined] # a Queue; keeps calls short
        taken.append(entry.message.body)
    return taken


def test_queue_returns_messages_in_their_order(vhost: VHost) -> None:
    queue = make_queue(vhost)
    for body in (b"a", b"b", b"c"):
        assert queue.push(message(body))
    assert bodies(queue) == [b"a", b"b", b"c"]


def test_requeued_message_finds_its_place_when_others_came_later(vhost: VHost) -> None:
    queue = make_queue(vhost)
    for body in (b"a", b"b", b"c"):
        queue.push(message(body))
    first, second = queue.take(), queue.take()
    assert first
    assert second
    queue.push(message(b"d"))
    queue.requeue(second)
    queue.requeue(first)
    assert bodies(queue) == [b"a", b"b", b"c", b"d"]


def test_backlog_counts_bytes_until_a_message_is_settled(vhost: VHost, runtime: FakeRuntime) -> None:
    queue = make_queue(vhost)
    queue.push(message(b"x" * 1000))
    entry = queue.take()
    assert entry
    assert runtime.backlog.size_bytes >= 1000
    queue.ack(entry)
    assert runtime.backlog.size_bytes == 0


def test_backlog_is_empty_when_a_queue_with_unsettled_messages_is_deleted(
    vhost: VHost, runtime: FakeRuntime
) -> None:
    queue = make_queue(vhost)
    queue.push(message())
    queue.push(message())
    entry = queue.take()
    assert entry
    vhost.delete_queue(queue)
    queue.requeue(entry)
    assert (runtime.backlog.size_bytes, queue.ready_count) == (0, 0)


def test_expired_message_is_dead_lettered_when_its_time_comes(vhost: VHost, runtime: FakeRuntime) -> None:
    dead = make_queue(vhost, "dead")
    queue = make_queue(vhost, x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    queue.push(message())
    runtime.advance(0.9)
    assert (queue.ready_count, dead.ready_count) == (1, 0)
    runtime.advance(0.2)
    assert (queue.ready_count, dead.ready_count) == (0, 1)


def test_queue_expires_when_it_is_not_used_and_not_before(vhost: VHost, runtime: FakeRuntime) -> None:
    queue = make_queue(vhost, x_expires=1000)
    runtime.advance(0.9)
    queue.touch()
    runtime.advance(0.9)
    assert "q" in vhost.queues
    runtime.advance(0.2)
    assert "q" not in vhost.queues


def test_long_chain_of_full_queues_is_no_deep_recursion(vhost: VHost) -> None:
    length = 150
    for number in range(length):
        make_queue(
            vhost,
            str(number),
            x_max_length=0,
            x_dead_letter_exchange="",
            x_dead_letter_routing_key=str(number + 1),
        )
    end = make_queue(vhost, str(length))
    vhost.queues["0"].push(message())
    assert end.ready_count == 1


def test_consumers_take_turns_and_the_blocked_one_is_parked(vhost: VHost) -> None:
    queue, sink, blocked = make_queue(vhost), FakeSink(), FakeSink()
    blocked.is_open = False
    for tag, its_sink in (("a", sink), ("b", sink), ("c", blocked)):
        queue.subscribe(Consumer(tag, queue, its_sink))
    for _ in range(4):
        queue.push(message())
    assert [tag for tag, _ in sink.got] == ["a", "b", "a", "b"]
    assert [consumer.tag for consumer in blocked.parked] == ["c"]


def test_parked_consumer_goes_on_when_it_is_enlisted(vhost: VHost) -> None:
    queue, sink = make_queue(vhost), FakeSink()
    consumer = Consumer("a", queue, sink, prefetch=1)
    queue.subscribe(consumer)
    queue.push(message(b"1"))
    queue.push(message(b"2"))
    assert [body for _, body in sink.got] == [b"1"]
    consumer.unacked_count = 0
    queue.turns.enlist(consumer)
    queue.dispatch()
    assert [body for _, body in sink.got] == [b"1", b"2"]


def test_next_consumer_is_active_when_the_active_one_goes(vhost: VHost) -> None:
    queue, sink = make_queue(vhost, x_single_active_consumer=True), FakeSink()
    first, second = Consumer("a", queue, sink), Consumer("b", queue, sink)
    queue.subscribe(first)
    queue.subscribe(second)
    queue.push(message())
    queue.unsubscribe(first)
    queue.push(message())
    assert [tag for tag, _ in sink.got] == ["a", "b"]


def test_consumers_are_told_when_their_queue_is_deleted(vhost: VHost) -> None:
    queue, sink = make_queue(vhost), FakeSink()
    queue.subscribe(Consumer("a", queue, sink))
    vhost.delete_queue(queue)
    assert sink.cancelled == ["a"]


def test_long_backlog_costs_the_same_per_message(vhost: VHost) -> None:
    def cost_s(count: int) -> float:
        queue = make_queue(vhost, f"q{count}")
        begun_s = time.process_time()
        for _ in range(count):
            queue.push(message())
        while queue.take() is not None:
            pass
        return (time.process_time() - begun_s) / count

    cost_s(100)
    # quadratic cost would make the longer one 20 times as dear per message
    assert cost_s(10_000) < 6 * cost_s(500)

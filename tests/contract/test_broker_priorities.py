"""Queues that hand out the most urgent message first: the embedded broker sorts as RabbitMQ does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.broker_kit import BROKERS, Peer, peers


@pytest.fixture(params=BROKERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    yield from peers(request)


def send(peer: Peer, queue: str, *bodies: bytes) -> None:
    """Publish bodies whose first letter is their priority; ``-`` has none."""
    before_count = peer.depth(queue)
    for body in bodies:
        peer.publish(queue, body, priority=None if body[:1] == b"-" else int(body[:1]))
    peer.wait_depth(queue, before_count + len(bodies))


def test_pushed_messages_come_most_urgent_first_and_in_order_when_they_are_as_urgent(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 2})
    send(peer, queue, b"-a", b"2a", b"1a", b"0b", b"2b", b"1b")
    peer.channel.basic_qos(prefetch_count=1)
    peer.consume(queue)
    for count in range(1, 7):
        peer.wait_got(count)
        peer.channel.basic_ack(peer.got[-1].method.delivery_tag)
    assert peer.bodies() == [b"2a", b"2b", b"1a", b"1b", b"-a", b"0b"]


def test_later_urgent_message_passes_those_that_wait(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 2})
    send(peer, queue, b"0a", b"0b")
    assert peer.take(queue).body == b"0a"
    send(peer, queue, b"2a", b"1a")
    assert peer.drain(queue) == [b"2a", b"1a", b"0b"]


def test_priority_above_the_queues_own_counts_as_that(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 2})
    send(peer, queue, b"2a", b"9a", b"2b", b"3a")
    assert peer.drain(queue) == [b"2a", b"9a", b"2b", b"3a"]


@pytest.mark.parametrize("arguments", [None, {"x-max-length": 9}])
def test_priority_is_ignored_when_the_queue_does_not_sort(
    peer: Peer, arguments: dict[str, int] | None
) -> None:
    queue = peer.queue(arguments)
    send(peer, queue, b"0a", b"5a", b"1a")
    assert peer.drain(queue) == [b"0a", b"5a", b"1a"]


def test_all_priorities_that_fit_into_a_byte_are_told_apart(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 255})
    for priority in (0, 254, 255, 253, 1):
        peer.publish(queue, str(priority).encode(), priority=priority)
    peer.wait_depth(queue, 5)
    assert peer.drain(queue) == [b"255", b"254", b"253", b"1", b"0"]


def test_message_has_its_old_place_when_it_is_requeued(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 2})
    send(peer, queue, b"1a", b"1b", b"0a")
    first = peer.take(queue, auto_ack=False)
    send(peer, queue, b"2a", b"1c")
    peer.channel.basic_reject(first.method.delivery_tag, requeue=True)
    peer.wait_depth(queue, 5)
    got = [peer.take(queue) for _ in range(5)]
    assert [one.body for one in got] == [b"2a", b"1a", b"1b", b"1c", b"0a"]
    assert [one.method.redelivered for one in got] == [False, True, False, False, False]


def test_message_is_as_urgent_as_before_when_its_taker_is_gone(peer: Peer) -> None:
    queue, other = peer.queue({"x-max-priority": 2}), peer.another()
    send(peer, queue, b"2a", b"1a")
    assert other.take(queue, auto_ack=False).body == b"2a"
    other.close()
    peer.wait_depth(queue, 2)
    assert peer.drain(queue) == [b"2a", b"1a"]


def test_message_is_as_urgent_as_before_when_it_is_dead_lettered(peer: Peer) -> None:
    dead = peer.queue({"x-max-priority": 2})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = peer.queue(arguments)
    send(peer, queue, b"0a", b"2a")
    for _ in range(2):
        peer.channel.basic_reject(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
    peer.wait_depth(dead, 2)
    assert peer.drain(dead) == [b"2a", b"0a"]


def test_queue_with_another_number_of_priorities_is_another(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 2})
    for arguments in ({"x-max-priority": 3}, {}):
        code, text = peer.refused(
            lambda channel, wanted=arguments: channel.queue_declare(queue, arguments=wanted)
        )
        assert code == 406
        assert "x-max-priority" in text
    peer.channel.queue_declare(queue, arguments={"x-max-priority": 2})


@pytest.mark.parametrize("value", [256, -1, "2", True])
def test_number_of_priorities_is_refused_when_it_is_none(peer: Peer, value: object) -> None:
    name = peer.name()
    code, text = peer.refused(
        lambda channel: channel.queue_declare(name, arguments={"x-max-priority": value})
    )
    assert code == 406
    assert "x-max-priority" in text

"""Dead-lettering, time to live and length limits: the embedded broker answers as RabbitMQ does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.contract.broker_kit import BROKERS, Peer, peers
from tests.support.waiting import wait_until


@pytest.fixture(params=BROKERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    yield from peers(request)


def dying(peer: Peer, dead: str, **arguments: object) -> str:
    """Declare a queue that dead-letters to the queue `dead`."""
    return peer.queue(
        {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        | {name.replace("_", "-"): value for name, value in arguments.items()}
    )


def test_rejected_message_tells_its_history(peer: Peer) -> None:
    dead = peer.queue()
    queue = dying(peer, dead)
    peer.publish(queue, b"x", headers={"mine": 1}, expiration="60000", message_id="m")
    peer.channel.basic_reject(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
    got = peer.take(dead)
    [death] = got.props.headers.pop("x-death")
    assert isinstance(death.pop("time"), datetime)
    assert death == {
        "count": 1,
        "reason": "rejected",
        "queue": queue,
        "exchange": "",
        "routing-keys": [queue],
        "original-expiration": "60000",
    }
    assert got.props.headers == {
        "mine": 1,
        "x-first-death-exchange": "",
        "x-first-death-queue": queue,
        "x-first-death-reason": "rejected",
    }
    assert (got.props.expiration, got.props.message_id, got.method.routing_key) == (None, "m", dead)


def test_second_death_of_a_kind_is_counted_and_comes_first(peer: Peer) -> None:
    dead = peer.queue()
    queue = dying(peer, dead)
    for target in (queue, dead, queue):
        if target == dead:
            message = peer.take(dead)
            peer.channel.basic_publish("", queue, message.body, message.props)
        else:
            if target == queue and peer.depth(queue) == 0 and peer.depth(dead) == 0:
                peer.publish(queue)
            peer.channel.basic_nack(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
            peer.wait_depth(dead, 1)
    [death] = peer.take(dead).props.headers["x-death"]
    assert (death["count"], death["queue"]) == (2, queue)


def test_death_keeps_the_routing_key_when_none_is_given(peer: Peer) -> None:
    exchange = peer.exchange("topic")
    dead = peer.bound(exchange, "#")
    queue = peer.queue({"x-dead-letter-exchange": exchange})
    peer.publish(queue)
    peer.channel.basic_nack(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
    got = peer.take(dead)
    assert (got.method.exchange, got.method.routing_key) == (exchange, queue)


def test_dead_message_is_dropped_when_the_exchange_is_gone(peer: Peer) -> None:
    queue = peer.queue({"x-dead-letter-exchange": "nobody"})
    peer.publish(queue)
    peer.channel.basic_nack(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
    peer.settle_down()
    assert peer.depth(queue) == 0


@pytest.mark.parametrize("by_message", [True, False], ids=["message", "queue"])
def test_message_expires(peer: Peer, by_message: bool) -> None:
    dead = peer.queue()
    queue = dying(peer, dead) if by_message else dying(peer, dead, **{"x-message-ttl": 50})
    peer.publish(queue, expiration="50" if by_message else None)
    death = peer.take(dead).props.headers["x-death"][0]
    assert (death["reason"], death.get("original-expiration")) == ("expired", "50" if by_message else None)


def test_shorter_time_to_live_wins(peer: Peer) -> None:
    dead = peer.queue()
    queue = dying(peer, dead, **{"x-message-ttl": 50})
    peer.publish(queue, expiration="60000")
    peer.wait_depth(dead, 1)


def test_message_waits_behind_a_living_one_when_only_it_has_expired(peer: Peer) -> None:
    dead = peer.queue()
    queue, marker = dying(peer, dead), dying(peer, dead)
    peer.publish(queue, b"living")
    peer.publish(queue, b"expired", expiration="1")
    peer.publish(marker, b"marker", expiration="100")
    assert peer.take(dead).body == b"marker"
    assert peer.depth(queue) == 2
    assert peer.take(queue).body == b"living"
    assert peer.take(dead).body == b"expired"


def test_message_of_no_time_is_delivered_when_a_consumer_waits(peer: Peer) -> None:
    queue = peer.queue({"x-message-ttl": 0})
    peer.publish(queue, b"nobody is there")
    peer.settle_down()
    assert peer.get(queue) is None
    peer.consume(queue, auto_ack=True)
    peer.publish(queue, b"at once")
    assert peer.wait_got(1) == [b"at once"]


def test_expired_message_dies_when_it_is_requeued(peer: Peer) -> None:
    dead = peer.queue()
    queue, marker = dying(peer, dead, **{"x-message-ttl": 50}), dying(peer, dead, **{"x-message-ttl": 100})
    consumer = peer.consume(queue, auto_ack=False)  # takes it at once, long before it expires
    peer.publish(queue, b"held")
    assert peer.wait_got(1) == [b"held"]
    tag = peer.got[0].method.delivery_tag
    peer.channel.basic_cancel(consumer)
    peer.publish(marker, b"marker")
    assert peer.take(dead).body == b"marker"
    peer.channel.basic_nack(tag, requeue=True)
    assert peer.take(dead).body == b"held"


def test_oldest_message_is_dropped_when_the_queue_is_full(peer: Peer) -> None:
    dead = peer.queue()
    queue = dying(peer, dead, **{"x-max-length": 2})
    for body in (b"a", b"b", b"c"):
        peer.publish(queue, body)
    got = peer.take(dead)
    assert (got.body, got.props.headers["x-death"][0]["reason"]) == (b"a", "maxlen")
    assert peer.drain(queue) == [b"b", b"c"]


def test_oldest_message_is_dropped_when_the_queue_has_too_many_bytes(peer: Peer) -> None:
    queue = peer.queue({"x-max-length-bytes": 10})
    for body in (b"aaaa", b"bbbb", b"cccc"):
        peer.publish(queue, body)
    peer.settle_down()
    assert peer.drain(queue) == [b"bbbb", b"cccc"]


def test_unsettled_messages_do_not_count_until_they_are_requeued(peer: Peer) -> None:
    queue = peer.queue({"x-max-length": 1})
    peer.publish(queue, b"a")
    tag = peer.take(queue, auto_ack=False).method.delivery_tag
    peer.publish(queue, b"b")
    peer.wait_depth(queue, 1)
    peer.channel.basic_nack(tag, requeue=True)
    peer.settle_down()
    assert peer.drain(queue) == [b"b"]


def test_refused_publish_is_dead_lettered_when_overflow_says_so(peer: Peer) -> None:
    dead = peer.queue()
    queue = dying(peer, dead, **{"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    peer.publish(queue, b"a")
    peer.publish(queue, b"b")
    assert peer.take(dead).body == b"b"
    assert peer.drain(queue) == [b"a"]


def test_circle_ends_when_nobody_rejected(peer: Peer) -> None:
    first, second = peer.name(), peer.name()
    for name, other in ((first, second), (second, first)):
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": other, "x-message-ttl": 20}
        peer.channel.queue_declare(name, arguments=arguments)
    dead = peer.queue()
    marker = dying(peer, dead, **{"x-message-ttl": 300})
    peer.publish(first)
    peer.publish(marker)
    peer.take(dead)  # long after a whole circle: between two queues a message is in neither
    wait_until(lambda: peer.depth(first) + peer.depth(second) == 0, 30, "the circle to end")
    peer.settle_down()
    assert peer.depth(first) + peer.depth(second) == 0


def test_circle_goes_on_when_somebody_rejected(peer: Peer) -> None:
    retry = peer.name()
    work = dying(peer, retry)
    peer.channel.queue_declare(
        retry,
        arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 20},
    )
    peer.publish(work)
    for count in range(1, 4):
        peer.channel.basic_nack(peer.take(work, auto_ack=False).method.delivery_tag, requeue=False)
        got = peer.take(work, auto_ack=False)
        deaths = {death["queue"]: death["count"] for death in got.props.headers["x-death"]}
        assert deaths == {work: count, retry: count}
        assert got.props.headers["x-death"][0]["queue"] == retry
        peer.channel.basic_nack(got.method.delivery_tag, requeue=True)


def test_dead_letter_copies_follow_cc_unless_a_key_is_given(peer: Peer) -> None:
    exchange = peer.exchange("direct")
    copy = peer.bound(exchange, "copy")
    queue = peer.queue({"x-dead-letter-exchange": exchange})
    peer.publish(queue, headers={"CC": ["copy"]})
    peer.channel.basic_nack(peer.take(queue, auto_ack=False).method.delivery_tag, requeue=False)
    got = peer.take(copy)
    assert got.props.headers["CC"] == ["copy"]
    assert got.props.headers["x-death"][0]["routing-keys"] == [queue, "copy"]
    keyed = peer.queue({"x-dead-letter-exchange": exchange, "x-dead-letter-routing-key": "copy"})
    peer.publish(keyed, headers={"CC": ["elsewhere"]})
    peer.channel.basic_nack(peer.take(keyed, auto_ack=False).method.delivery_tag, requeue=False)
    assert "CC" not in peer.take(copy).props.headers


def test_quorum_queue_counts_deliveries_and_gives_up(peer: Peer) -> None:
    dead, queue = peer.queue(), peer.name()
    arguments = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 2,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead,
    }
    peer.channel.queue_declare(queue, durable=True, arguments=arguments)
    peer.publish(queue)
    seen = []
    for _ in range(3):
        got = peer.take(queue, auto_ack=False)
        seen.append((got.method.redelivered, (got.props.headers or {}).get("x-delivery-count")))
        peer.channel.basic_nack(got.method.delivery_tag, requeue=True)
    assert seen == [(False, 0), (True, 1), (True, 2)]
    assert peer.take(dead).props.headers["x-death"][0]["reason"] == "delivery_limit"

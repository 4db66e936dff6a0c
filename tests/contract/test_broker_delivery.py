"""Publishing, consuming and settling: the embedded broker answers as RabbitMQ does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pika.exceptions import NackError, UnroutableError

from tests.contract.broker_kit import BROKERS, Peer, peers


@pytest.fixture(params=BROKERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    yield from peers(request)


# Publishing


@pytest.mark.parametrize("size", [0, 1, 131064, 131065, 1_000_000], ids=lambda size: f"{size}B")
def test_body_arrives_whole_when_it_is_empty_or_large(peer: Peer, size: int) -> None:
    queue = peer.queue()
    body = bytes(index % 251 for index in range(size))
    peer.publish(queue, body)
    assert peer.take(queue).body == body


def test_properties_arrive_unchanged(peer: Peer) -> None:
    queue = peer.queue()
    sent = pika.BasicProperties(
        content_type="a/b",
        content_encoding="gzip",
        headers={"int": 1, "big": 2**40, "text": "ä", "none": None, "list": [1, {"a": True}], "yes": True},
        delivery_mode=2,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="60000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="app",
        cluster_id="cl",
    )
    peer.channel.basic_publish("", queue, b"x", sent)
    assert vars(peer.take(queue).props) == vars(sent)


def test_mandatory_message_is_returned_before_its_confirm_when_it_is_unroutable(peer: Peer) -> None:
    peer.channel.confirm_delivery()
    with pytest.raises(UnroutableError) as caught:
        peer.channel.basic_publish(
            "", "nobody", b"back", pika.BasicProperties(message_id="m"), mandatory=True
        )
    [returned] = caught.value.messages
    assert (returned.body, returned.method.reply_code, returned.method.reply_text) == (
        b"back",
        312,
        "NO_ROUTE",
    )
    assert (returned.method.routing_key, returned.properties.message_id) == ("nobody", "m")


def test_publish_is_confirmed_when_it_is_unroutable_and_not_mandatory(peer: Peer) -> None:
    peer.channel.confirm_delivery()
    peer.channel.basic_publish("", "nobody", b"x")
    assert peer.channel.is_open


def test_publish_is_nacked_when_the_queue_is_full_and_rejects(peer: Peer) -> None:
    queue = peer.queue({"x-max-length": 1, "x-overflow": "reject-publish"})
    peer.channel.confirm_delivery()
    peer.channel.basic_publish("", queue, b"first")
    with pytest.raises(NackError):
        peer.channel.basic_publish("", queue, b"second")
    assert peer.drain(queue) == [b"first"]


def test_publish_is_refused_when_user_id_is_another(peer: Peer) -> None:
    queue = peer.queue()
    assert peer.refused(lambda _: peer.publish(queue, user_id="somebody"))[0] == 406


def test_publish_is_refused_when_expiration_is_no_number(peer: Peer) -> None:
    queue = peer.queue()
    assert peer.refused(lambda _: peer.publish(queue, expiration="soon"))[0] == 406


# Consuming


def test_messages_arrive_in_order_and_no_ack_leaves_nothing(peer: Peer) -> None:
    queue = peer.queue()
    sent = [b"%d" % number for number in range(500)]
    for body in sent:
        peer.publish(queue, body)
    peer.consume(queue, auto_ack=True)
    assert peer.wait_got(500) == sent
    assert [one.method.delivery_tag for one in peer.got] == list(range(1, 501))


def test_consume_is_refused_when_another_is_exclusive(peer: Peer) -> None:
    queue = peer.queue()
    peer.consume(queue, exclusive=True)
    other = peer.another()
    code, text = other.refused(lambda channel: channel.basic_consume(queue, print))
    assert (code, "in exclusive use" in text) == (403, True)


def test_exclusive_consume_is_refused_when_there_is_a_consumer(peer: Peer) -> None:
    queue = peer.queue()
    peer.consume(queue)
    assert (
        peer.another().refused(lambda channel: channel.basic_consume(queue, print, exclusive=True))[0] == 403
    )


def test_consume_is_refused_when_queue_is_unknown(peer: Peer) -> None:
    assert peer.refused(lambda channel: channel.basic_consume("nobody", print))[0] == 404


def test_consumer_is_told_when_its_queue_is_deleted(peer: Peer) -> None:
    queue = peer.queue()
    tag = peer.consume(queue)
    peer.another().channel.queue_delete(queue)
    peer.wait(lambda: peer.cancelled == [tag], "the cancel")


def test_cancelled_consumer_gets_nothing_and_keeps_its_unsettled_messages(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue, b"one")
    tag = peer.consume(queue)
    peer.wait_got(1)
    peer.channel.basic_cancel(tag)
    peer.publish(queue, b"two")
    peer.settle_down()
    assert peer.bodies() == [b"one"]
    peer.channel.basic_ack(1)
    assert peer.drain(queue) == [b"two"]


def test_prefetch_limits_each_consumer(peer: Peer) -> None:
    queue = peer.queue()
    for number in range(10):
        peer.publish(queue, b"%d" % number)
    peer.channel.basic_qos(prefetch_count=3)
    peer.consume(queue)
    peer.wait_got(3)
    peer.settle_down()
    assert (len(peer.got), peer.depth(queue)) == (3, 7)
    peer.channel.basic_ack(1)
    assert peer.wait_got(4)[-1] == b"3"


def test_global_prefetch_limits_the_channel_but_not_get(peer: Peer) -> None:
    first, second = peer.queue(), peer.queue()
    for queue in (first, second):
        for _ in range(5):
            peer.publish(queue)
    peer.channel.basic_qos(prefetch_count=3, global_qos=True)
    peer.consume(first)
    peer.consume(second)
    peer.wait_got(3)
    assert peer.get(second, auto_ack=False) is not None
    peer.channel.basic_get(first, auto_ack=False)
    assert len(peer.got) == 3
    other = peer.another()
    assert other.depth(first) + other.depth(second) == 5


def test_prefetch_size_is_not_implemented(peer: Peer) -> None:
    assert peer.cut(lambda channel: channel.basic_qos(prefetch_size=10)) == 540


def test_consumers_take_turns(peer: Peer) -> None:
    queue = peer.queue()
    tags = [peer.consume(queue, auto_ack=True) for _ in range(3)]
    for _ in range(9):
        peer.publish(queue)
    peer.wait_got(9)
    assert sorted(one.method.consumer_tag for one in peer.got) == sorted(tags * 3)


def test_consumer_of_higher_priority_is_served_first(peer: Peer) -> None:
    queue = peer.queue()
    peer.channel.basic_qos(prefetch_count=2)
    low = peer.consume(queue, arguments={"x-priority": 1})
    high = peer.consume(queue, arguments={"x-priority": 5})
    other = peer.another()
    for number in range(3):
        other.publish(queue, b"%d" % number)
    peer.wait_got(3)
    assert [one.method.consumer_tag for one in peer.got] == [high, high, low]


def test_single_active_consumer_hands_over(peer: Peer) -> None:
    queue = peer.queue({"x-single-active-consumer": True})
    first, second = peer.consume(queue, auto_ack=True), peer.consume(queue, auto_ack=True)
    for _ in range(3):
        peer.publish(queue)
    peer.wait_got(3)
    peer.channel.basic_cancel(first)
    peer.publish(queue)
    peer.wait_got(4)
    assert [one.method.consumer_tag for one in peer.got] == [first] * 3 + [second]


def test_priority_queue_delivers_the_urgent_first(peer: Peer) -> None:
    queue = peer.queue({"x-max-priority": 5})
    for priority in (None, 1, 5, 3, 9, 1):
        peer.publish(queue, str(priority).encode(), priority=priority)
    peer.wait_depth(queue, 6)
    assert peer.drain(queue) == [b"5", b"9", b"3", b"1", b"1", b"None"]


# Settling


def test_get_counts_what_is_left_and_says_empty(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue)
    peer.publish(queue)
    peer.wait_depth(queue, 2)
    assert peer.take(queue).method.message_count == 1
    assert peer.take(queue).method.message_count == 0
    assert peer.get(queue) is None


@pytest.mark.parametrize("how", ["basic_ack", "basic_nack", "basic_reject"])
def test_unknown_delivery_tag_is_refused(peer: Peer, how: str) -> None:
    code, text = peer.refused(lambda channel: getattr(channel, how)(7))
    assert (code, text) == (406, "PRECONDITION_FAILED - unknown delivery tag 7")


def test_second_ack_is_refused(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue)
    tag = peer.take(queue, auto_ack=False).method.delivery_tag
    peer.channel.basic_ack(tag)
    assert peer.refused(lambda channel: channel.basic_ack(tag))[0] == 406


def test_multiple_ack_settles_all_up_to_the_tag_and_zero_means_all(peer: Peer) -> None:
    queue = peer.queue()
    for number in range(5):
        peer.publish(queue, b"%d" % number)
    peer.wait_depth(queue, 5)
    for _ in range(5):
        peer.take(queue, auto_ack=False)
    peer.channel.basic_ack(3, multiple=True)
    peer.channel.basic_nack(0, multiple=True, requeue=True)
    peer.wait_depth(queue, 2)
    assert peer.drain(queue) == [b"3", b"4"]


def test_requeued_message_returns_to_its_place_and_is_redelivered(peer: Peer) -> None:
    queue = peer.queue()
    for body in (b"a", b"b", b"c"):
        peer.publish(queue, body)
    peer.wait_depth(queue, 3)
    first, second = peer.take(queue, auto_ack=False), peer.take(queue, auto_ack=False)
    assert not first.method.redelivered
    peer.channel.basic_reject(second.method.delivery_tag, requeue=True)
    peer.channel.basic_nack(first.method.delivery_tag, requeue=True)
    peer.wait_depth(queue, 3)
    got = [peer.take(queue) for _ in range(3)]
    assert [(one.body, one.method.redelivered) for one in got] == [(b"a", True), (b"b", True), (b"c", False)]


@pytest.mark.parametrize("what", ["channel", "connection"])
def test_unsettled_messages_return_when_their_channel_goes(peer: Peer, what: str) -> None:
    queue, other = peer.queue(), peer.another()
    peer.publish(queue, b"a")
    peer.publish(queue, b"b")
    peer.wait_depth(queue, 2)
    other.take(queue, auto_ack=False)
    getattr(other, what).close()
    peer.wait_depth(queue, 2)
    assert [(peer.take(queue).body, peer.take(queue).method.redelivered)] == [(b"a", False)]


def test_recover_puts_everything_back(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue, b"a")
    peer.take(queue, auto_ack=False)
    peer.channel.basic_recover(requeue=True)
    assert peer.take(queue).method.redelivered


def test_recover_without_requeue_is_not_implemented(peer: Peer) -> None:
    assert peer.cut(lambda channel: channel.basic_recover(requeue=False)) == 540


def test_purge_leaves_what_is_unsettled(peer: Peer) -> None:
    queue = peer.queue()
    for _ in range(3):
        peer.publish(queue)
    peer.wait_depth(queue, 3)
    tag = peer.take(queue, auto_ack=False).method.delivery_tag
    assert peer.channel.queue_purge(queue).method.message_count == 2
    peer.channel.basic_nack(tag, requeue=True)
    peer.wait_depth(queue, 1)


# Transactions


def test_transaction_publishes_and_settles_when_it_is_committed(peer: Peer) -> None:
    queue, other = peer.queue(), peer.another()
    peer.channel.tx_select()
    peer.publish(queue, b"a")
    peer.settle_down()
    assert other.depth(queue) == 0
    peer.channel.tx_commit()
    tag = peer.take(queue, auto_ack=False).method.delivery_tag
    peer.channel.basic_ack(tag)
    peer.channel.tx_rollback()
    peer.channel.basic_ack(tag)
    peer.channel.tx_commit()
    peer.connection.close()
    assert other.depth(queue) == 0


def test_transaction_is_forgotten_when_it_is_rolled_back(peer: Peer) -> None:
    queue = peer.queue()
    peer.channel.tx_select()
    peer.publish(queue, b"gone")
    peer.channel.tx_rollback()
    peer.publish(queue, b"kept")
    peer.channel.tx_commit()
    assert peer.drain(queue) == [b"kept"]


def test_commit_is_refused_when_channel_is_not_transactional(peer: Peer) -> None:
    assert peer.refused(lambda channel: channel.tx_commit())[0] == 406


def test_confirms_and_transactions_exclude_each_other(peer: Peer) -> None:
    peer.channel.tx_select()
    assert peer.refused(lambda channel: channel.confirm_delivery())[0] == 406
    peer.channel.confirm_delivery()
    assert peer.refused(lambda channel: channel.tx_select())[0] == 406


# Direct reply-to

REPLY_TO = "amq.rabbitmq.reply-to"


def test_direct_reply_reaches_the_asker(peer: Peer) -> None:
    queue, server = peer.queue(), peer.another()
    peer.consume(REPLY_TO, auto_ack=True)
    peer.publish(queue, b"ask", reply_to=REPLY_TO)
    address = server.take(queue).props.reply_to
    assert address.startswith(REPLY_TO + ".")
    assert server.channel.queue_declare(address, passive=True).method.queue == address
    server.channel.confirm_delivery()
    server.channel.basic_publish("", address, b"answer")
    assert peer.wait_got(1) == [b"answer"]
    with pytest.raises(UnroutableError):
        server.channel.basic_publish("", address, b"there is no queue", mandatory=True)
    peer.channel.close()
    assert server.refused(lambda channel: channel.queue_declare(address, passive=True))[0] == 404


def test_direct_reply_is_refused_when_it_is_misused(peer: Peer) -> None:
    queue = peer.queue()
    consume: Any = {"queue": REPLY_TO, "on_message_callback": print}
    assert peer.refused(lambda channel: channel.basic_consume(**consume))[0] == 406
    assert peer.refused(lambda _: peer.publish(queue, reply_to=REPLY_TO))[0] == 406
    peer.consume(REPLY_TO, auto_ack=True)
    assert peer.refused(lambda channel: channel.basic_consume(**consume, auto_ack=True))[0] == 406


# Flow


def test_connection_that_publishes_is_told_to_go_on_when_flow_is_active(peer: Peer) -> None:
    assert peer.channel.flow(True) is True


def test_secret_can_be_updated(peer: Peer) -> None:
    peer.connection.update_secret("guest", "because")
    assert peer.connection.is_open

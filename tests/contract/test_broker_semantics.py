"""Exchanges, queues and bindings: the embedded broker answers as RabbitMQ does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError

from tests.contract.broker_kit import BROKERS, Peer, peers
from tests.support.waiting import wait_until


@pytest.fixture(params=BROKERS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    yield from peers(request)


# Login and vhost


def test_login_is_refused_when_password_is_wrong(peer: Peer) -> None:
    with pytest.raises(ProbableAuthenticationError, match="403"):
        Peer(peer.url.replace(":guest@", ":wrong@"))


def test_connection_is_refused_when_vhost_is_unknown(peer: Peer) -> None:
    with pytest.raises(ProbableAccessDeniedError, match="530"):
        Peer(peer.url.rsplit("/", 1)[0] + "/nobody-made-this")


def test_server_offers_the_capabilities_that_clients_look_for(peer: Peer) -> None:
    impl = peer.connection._impl
    assert impl.publisher_confirms
    assert impl.basic_nack
    assert impl.consumer_cancel_notify
    assert impl.exchange_exchange_bindings
    assert impl.server_capabilities["connection.blocked"]
    assert impl.server_capabilities["authentication_failure_close"]
    major, minor, patch = (int(part) for part in impl.server_properties["version"].split("."))
    assert (major, minor, patch) >= (3, 0, 0)


# Queues


def test_queue_declare_twice_returns_counts_when_it_is_equal(peer: Peer) -> None:
    queue = peer.queue(durable=True)
    peer.publish(queue)
    peer.wait_depth(queue, 1)
    again = peer.channel.queue_declare(queue, durable=True).method
    assert (again.queue, again.message_count, again.consumer_count) == (queue, 1, 0)


@pytest.mark.parametrize(
    "changed",
    [
        {"durable": False},
        {"auto_delete": True},
        {"arguments": {"x-max-length": 1}},
        {"arguments": {"x-queue-type": "quorum"}},
    ],
)
def test_queue_declare_is_refused_when_it_differs(peer: Peer, changed: dict[str, object]) -> None:
    queue = peer.queue(durable=True)
    code, text = peer.refused(lambda channel: channel.queue_declare(queue, **{"durable": True, **changed}))
    assert (code, text.split("'")[0]) == (406, "PRECONDITION_FAILED - inequivalent arg ")


def test_queue_gets_a_name_from_the_server_when_it_has_none(peer: Peer) -> None:
    name = peer.channel.queue_declare("", exclusive=True).method.queue
    assert name.startswith("amq.gen-")
    assert peer.depth(name) == 0


def test_last_declared_queue_is_meant_when_the_name_is_empty(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue)
    peer.wait_depth(queue, 1)
    assert peer.channel.queue_purge("").method.message_count == 1


def test_empty_name_is_refused_when_nothing_was_declared(peer: Peer) -> None:
    assert peer.refused(lambda channel: channel.queue_purge(""))[0] == 404


def test_queue_name_is_refused_when_it_begins_with_amq(peer: Peer) -> None:
    code, text = peer.refused(lambda channel: channel.queue_declare("amq.mine"))
    assert (code, text) == (403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'")


def test_passive_declare_is_refused_when_queue_is_unknown(peer: Peer) -> None:
    code, text = peer.refused(lambda channel: channel.queue_declare("nobody", passive=True))
    assert code == 404
    assert text.startswith("NOT_FOUND - no queue 'nobody' in vhost")


def test_exclusive_queue_is_locked_for_others(peer: Peer) -> None:
    queue = peer.queue(exclusive=True)
    other = peer.another()
    assert other.refused(lambda channel: channel.queue_declare(queue, passive=True))[0] == 405
    assert other.refused(lambda channel: channel.basic_get(queue))[0] == 405
    assert other.refused(lambda channel: channel.queue_delete(queue))[0] == 405


def test_redeclare_is_locked_when_exclusive_differs(peer: Peer) -> None:
    queue, shared = peer.queue(exclusive=True), peer.queue()
    assert peer.refused(lambda channel: channel.queue_declare(queue))[0] == 405
    assert peer.refused(lambda channel: channel.queue_declare(shared, exclusive=True))[0] == 405


def test_exclusive_queue_goes_with_its_connection(peer: Peer) -> None:
    other = Peer(peer.url)
    queue = other.queue(exclusive=True)
    other.connection.close()
    assert peer.refused(lambda channel: channel.queue_declare(queue, passive=True))[0] == 404


def test_auto_delete_queue_goes_with_its_last_consumer(peer: Peer) -> None:
    queue = peer.queue(auto_delete=True)
    first, second = peer.consume(queue), peer.consume(queue)
    peer.channel.basic_cancel(first)
    assert peer.depth(queue) == 0
    peer.channel.basic_cancel(second)
    assert peer.refused(lambda channel: channel.queue_declare(queue, passive=True))[0] == 404


def test_delete_is_refused_when_queue_is_used_or_filled(peer: Peer) -> None:
    queue = peer.queue()
    peer.publish(queue)
    peer.wait_depth(queue, 1)
    assert peer.refused(lambda channel: channel.queue_delete(queue, if_empty=True))[0] == 406
    peer.channel.queue_purge(queue)
    other = peer.another()
    other.consume(queue)
    assert peer.refused(lambda channel: channel.queue_delete(queue, if_unused=True))[0] == 406
    assert peer.channel.queue_delete(queue).method.message_count == 0


def test_delete_is_no_error_when_names_are_unknown(peer: Peer) -> None:
    assert peer.channel.queue_delete("nobody").method.message_count == 0
    peer.channel.exchange_delete("nobody")
    assert peer.channel.is_open


def test_line_ends_are_taken_out_of_names(peer: Peer) -> None:
    exchange = peer.name("exchange")
    peer.channel.exchange_declare(f"{exchange}\r\n", "fanout")
    peer.channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"x-message-ttl": "soon"},
        {"x-message-ttl": -1},
        {"x-expires": 0},
        {"x-max-length": -1},
        {"x-dead-letter-routing-key": "k"},
        {"x-overflow": "explode"},
        {"x-dead-letter-exchange": 5},
        {"x-queue-type": "imaginary"},
        {"x-max-priority": 256},
        {"x-delivery-limit": 3},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_queue_argument_is_refused_when_it_makes_no_sense(peer: Peer, arguments: dict[str, object]) -> None:
    queue = peer.name()
    assert peer.refused(lambda channel: channel.queue_declare(queue, arguments=arguments))[0] == 406


def test_quorum_queue_is_refused_when_it_is_not_durable(peer: Peer) -> None:
    queue = peer.name()
    arguments = {"x-queue-type": "quorum"}
    assert peer.refused(lambda channel: channel.queue_declare(queue, arguments=arguments))[0] == 406


# Exchanges


@pytest.mark.parametrize(
    "name", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"], ids=lambda name: name
)
def test_exchange_is_there_when_it_is_predeclared(peer: Peer, name: str) -> None:
    peer.channel.exchange_declare(name, passive=True)
    assert peer.refused(lambda channel: channel.exchange_delete(name))[0] == 403


def test_exchange_declare_is_refused_when_name_is_reserved(peer: Peer) -> None:
    assert peer.refused(lambda channel: channel.exchange_declare("amq.mine", "direct"))[0] == 403


def test_default_exchange_is_refused_for_anything_but_publishing(peer: Peer) -> None:
    queue = peer.queue()
    assert peer.refused(lambda channel: channel.exchange_declare("", passive=True))[0] == 403
    assert peer.refused(lambda channel: channel.exchange_delete(""))[0] == 403
    assert peer.refused(lambda channel: channel.queue_bind(queue, ""))[0] == 403
    assert peer.refused(lambda channel: channel.queue_unbind(queue, "", "k"))[0] == 403


def test_passive_exchange_declare_is_refused_when_it_is_unknown(peer: Peer) -> None:
    assert peer.refused(lambda channel: channel.exchange_declare("nobody", passive=True))[0] == 404


@pytest.mark.parametrize(
    "changed",
    [{"exchange_type": "topic"}, {"durable": True}, {"auto_delete": True}, {"internal": True}],
    ids=lambda changed: next(iter(changed)),
)
def test_exchange_declare_is_refused_when_it_differs(peer: Peer, changed: dict[str, object]) -> None:
    name = peer.exchange("direct")
    code, text = peer.refused(
        lambda channel: channel.exchange_declare(name, **{"exchange_type": "direct", **changed})
    )
    assert (code, "inequivalent arg" in text) == (406, True)


def test_unknown_exchange_type_closes_the_connection(peer: Peer) -> None:
    assert peer.cut(lambda channel: channel.exchange_declare("x", "imaginary")) == 503


def test_exchange_delete_is_refused_when_it_is_used(peer: Peer) -> None:
    name = peer.exchange("fanout")
    peer.bound(name)
    assert peer.refused(lambda channel: channel.exchange_delete(name, if_unused=True))[0] == 406


def test_auto_delete_exchange_goes_with_its_last_binding(peer: Peer) -> None:
    name = peer.exchange("fanout", auto_delete=True)
    queue = peer.bound(name)
    peer.channel.queue_unbind(queue, name, "")
    assert peer.refused(lambda channel: channel.exchange_declare(name, passive=True))[0] == 404


def test_publish_is_refused_when_exchange_is_internal(peer: Peer) -> None:
    name = peer.exchange("fanout", internal=True)
    assert peer.refused(lambda channel: channel.basic_publish(name, "", b""))[0] == 403


def test_publish_is_refused_when_exchange_is_unknown(peer: Peer) -> None:
    code, text = peer.refused(lambda channel: channel.basic_publish("nobody", "k", b""))
    assert code == 404
    assert text.startswith("NOT_FOUND - no exchange 'nobody' in vhost")


# Routing


def test_direct_exchange_routes_by_the_whole_key(peer: Peer) -> None:
    name = peer.exchange("direct")
    one, both = peer.bound(name, "a"), peer.bound(name, "a")
    peer.channel.queue_bind(both, name, "b")
    for key in ("a", "b", "a.b"):
        peer.publish(key, key.encode(), exchange=name)
    peer.wait_depth(both, 2)
    assert (peer.drain(one), peer.drain(both)) == ([b"a"], [b"a", b"b"])


def test_fanout_exchange_routes_everything_once(peer: Peer) -> None:
    name = peer.exchange("fanout")
    queue = peer.bound(name, "a")
    peer.channel.queue_bind(queue, name, "b")
    peer.publish("zzz", exchange=name)
    peer.wait_depth(queue, 1)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("#", ["", "a", "a.b", "a.b.c", "c", "a.", "a..b", "a.c"]),
        ("*", ["a", "c"]),
        ("a.*", ["a.b", "a.", "a.c"]),
        ("a.#", ["a", "a.b", "a.b.c", "a.", "a..b", "a.c"]),
        ("#.c", ["a.b.c", "c", "a.c"]),
        ("a.#.c", ["a.b.c", "a.c"]),
        ("*.*", ["a.b", "a.", "a.c"]),
        ("", [""]),
        ("#.*", ["a", "a.b", "a.b.c", "c", "a.", "a..b", "a.c"]),
    ],
)
def test_topic_exchange_routes_by_words(peer: Peer, pattern: str, keys: list[str]) -> None:
    name = peer.exchange("topic")
    queue, everything = peer.bound(name, pattern), peer.bound(name, "#")
    every = ["", "a", "a.b", "a.b.c", "c", "a.", "a..b", "a.c"]
    for key in every:
        peer.publish(key, key.encode(), exchange=name)
    peer.wait_depth(everything, len(every))
    routed = {body.decode() for body in peer.drain(queue)}
    assert routed == set(keys)


@pytest.mark.parametrize(
    ("arguments", "headers", "is_routed"),
    [
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 0}, True),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
        ({"x-match": "any", "a": 1, "b": "x"}, {"b": "x"}, True),
        ({"x-match": "any", "a": 1}, {"a": 2}, False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": None}, {"a": "anything"}, True),
        ({}, {"a": 1}, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "x-ignored": 1}, {}, True),
    ],
)
def test_headers_exchange_routes_by_headers(
    peer: Peer, arguments: dict[str, object], headers: dict[str, object], is_routed: bool
) -> None:
    name = peer.exchange("headers")
    queue = peer.bound(name, "", arguments)
    peer.publish("", exchange=name, headers=headers)
    peer.settle_down()
    assert peer.depth(queue) == is_routed


def test_bind_is_refused_when_x_match_is_unknown(peer: Peer) -> None:
    name, queue = peer.exchange("headers"), peer.queue()
    assert peer.refused(lambda channel: channel.queue_bind(queue, name, "", {"x-match": "some"}))[0] == 406


def test_bind_is_refused_when_an_end_is_unknown(peer: Peer) -> None:
    name, queue = peer.exchange("direct"), peer.queue()
    assert peer.refused(lambda channel: channel.queue_bind("nobody", name, "k"))[0] == 404
    assert peer.refused(lambda channel: channel.queue_bind(queue, "nobody", "k"))[0] == 404


def test_unbind_is_no_error_when_names_are_unknown(peer: Peer) -> None:
    name, queue = peer.exchange("direct"), peer.queue()
    peer.channel.queue_unbind(queue, name, "never-bound")
    peer.channel.queue_unbind(queue, "nobody", "k")
    peer.channel.queue_unbind("nobody", name, "k")
    assert peer.channel.is_open


def test_unbind_leaves_the_binding_with_other_arguments(peer: Peer) -> None:
    name = peer.exchange("headers")
    queue = peer.bound(name, "", {"a": 1})
    peer.channel.queue_bind(queue, name, "", {"b": 1})
    peer.channel.queue_unbind(queue, name, "", {"a": 1})
    peer.publish("", b"a", exchange=name, headers={"a": 1})
    peer.publish("", b"b", exchange=name, headers={"b": 1})
    assert peer.take(queue).body == b"b"


def test_exchange_bound_to_exchange_passes_messages_on_and_circles_end(peer: Peer) -> None:
    first, second = peer.exchange("topic"), peer.exchange("fanout")
    peer.channel.exchange_bind(second, first, "a.#")
    peer.channel.exchange_bind(first, second, "")
    queue = peer.bound(second)
    peer.publish("a.b", b"on", exchange=first)
    peer.publish("b", b"not", exchange=first)
    assert peer.take(queue).body == b"on"
    peer.channel.exchange_unbind(second, first, "a.#")
    peer.publish("a.b", b"gone", exchange=first)
    peer.settle_down()
    assert peer.depth(queue) == 0


def test_alternate_exchange_takes_what_is_unroutable(peer: Peer) -> None:
    alternate = peer.exchange("fanout")
    name = peer.exchange("direct", {"alternate-exchange": alternate})
    routed, rest = peer.bound(name, "k"), peer.bound(alternate)
    peer.publish("k", b"routed", exchange=name)
    peer.publish("other", b"rest", exchange=name)
    assert (peer.take(routed).body, peer.take(rest).body) == (b"routed", b"rest")


def test_cc_and_bcc_add_keys_and_bcc_is_not_delivered(peer: Peer) -> None:
    name = peer.exchange("direct")
    to, copied, blind = peer.bound(name, "to"), peer.bound(name, "cc"), peer.bound(name, "bcc")
    peer.publish("to", exchange=name, headers={"CC": ["cc"], "BCC": ["bcc"], "mine": 1})
    for queue in (to, copied, blind):
        assert peer.take(queue).props.headers == {"CC": ["cc"], "mine": 1}


def test_deleting_a_queue_unbinds_it(peer: Peer) -> None:
    name = peer.exchange("direct")
    queue = peer.bound(name, "k")
    peer.channel.queue_delete(queue)
    peer.channel.queue_declare(queue)
    peer.publish("k", exchange=name)
    peer.settle_down()
    assert peer.depth(queue) == 0


def test_expired_queue_is_deleted_when_nobody_uses_it(peer: Peer) -> None:
    queue = peer.queue({"x-expires": 150})
    other = peer.another()
    wait_until(lambda: not other.exists(queue), 30, "the queue to expire")


def test_expiring_queue_stays_while_it_has_a_consumer(peer: Peer) -> None:
    queue, marker = peer.queue({"x-expires": 1000}), peer.queue({"x-expires": 1200})
    peer.consume(queue)
    other = peer.another()
    wait_until(lambda: not other.exists(marker), 30, "the other queue to expire")
    assert other.depth(queue) == 0

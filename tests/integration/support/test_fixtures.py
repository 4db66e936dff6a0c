"""The fixtures that give brokers to other tests."""

from urllib.parse import urlsplit

import pika

from reworker.broker.server import BrokerThread


def test_any_broker_url_gives_an_empty_broker_when_a_test_asks_for_it(any_broker_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(any_broker_url))
    channel = connection.channel()
    declared = channel.queue_declare("same-name-each-time", durable=True)
    assert declared.method.message_count == 0
    channel.confirm_delivery()
    channel.basic_publish("", "same-name-each-time", b"x", mandatory=True)
    connection.close()


def test_any_broker_url_gives_another_virtual_host_when_asked_again(any_broker_url: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(any_broker_url))
    declared = connection.channel().queue_declare("same-name-each-time", durable=True)
    assert declared.method.message_count == 0
    connection.close()


def test_broker_url_is_on_the_session_broker_when_both_are_asked_for(
    broker: BrokerThread, broker_url: str
) -> None:
    assert urlsplit(broker_url).port == urlsplit(broker.url("other")).port

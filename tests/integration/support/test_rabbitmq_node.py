"""The private RabbitMQ node that other tests stand on."""

from urllib.parse import unquote, urlsplit

import pika
import pytest

from tests.support.rabbitmq import RabbitMQNode

pytestmark = pytest.mark.rabbitmq


def vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path[1:])


def open_connection(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url))


def test_rabbitmq_url_accepts_a_client_when_a_test_asks_for_it(rabbitmq_url: str) -> None:
    connection = open_connection(rabbitmq_url)
    connection.channel().queue_declare("q")
    connection.close()


def test_add_vhost_makes_an_empty_one_when_called_twice(rabbitmq: RabbitMQNode) -> None:
    first, second = rabbitmq.add_vhost(), rabbitmq.add_vhost()
    assert first != second
    assert {first, second} < set(rabbitmq.rabbitmqctl("list_vhosts").split())
    rabbitmq.delete_vhost(first)
    rabbitmq.delete_vhost(second)
    assert not {first, second} & set(rabbitmq.rabbitmqctl("list_vhosts").split())


def test_evaluate_fails_when_the_node_refuses(rabbitmq: RabbitMQNode) -> None:
    assert rabbitmq.evaluate("1 + 1") == "2"
    with pytest.raises(RuntimeError, match="badmatch"):
        rabbitmq.evaluate("ok = error")

"""The private RabbitMQ node that other tests stand on."""

from pathlib import Path

import pika
import pytest

from tests.support.rabbitmq import RabbitMQNode
from tests.support.waiting import wait_until

pytestmark = pytest.mark.rabbitmq


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


def publish(url: str, queue: str) -> None:
    connection = open_connection(url)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare(queue, durable=True)
    channel.basic_publish("", queue, b"kept", pika.BasicProperties(delivery_mode=2))
    connection.close()


def message_count(url: str, queue: str) -> int:
    connection = open_connection(url)
    count: int = connection.channel().queue_declare(queue, passive=True).method.message_count
    connection.close()
    return count


@pytest.mark.slow
def test_node_keeps_its_ports_and_data_when_killed_or_restarted() -> None:
    with RabbitMQNode() as node:
        publish(node.url(), "durable")
        # First the restart in good order: RabbitMQ writes a fresh queue's definition to disk a little later.
        node.restart()
        assert message_count(node.url(), "durable") == 1
        node.kill()
        assert not node.is_running
        node.start()
        assert message_count(node.url(), "durable") == 1
        folder = node.folder
    assert not node.is_running
    assert not Path(folder).exists()


@pytest.mark.slow
def test_node_takes_a_message_back_when_its_consumer_timeout_passes() -> None:
    with RabbitMQNode(consumer_timeout_s=1) as node:
        connection = open_connection(node.url())
        channel = connection.channel()
        # Quorum queues have the timeout on every version; the consumer loses its channel, or is cancelled.
        channel.queue_declare("late", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", "late", b"late")
        cancelled: list[object] = []
        channel.add_on_cancel_callback(cancelled.append)
        channel.basic_consume("late", lambda *delivery: None)

        def is_over() -> bool:
            connection.process_data_events(0.1)
            return bool(channel.is_closed or cancelled)

        wait_until(is_over, 20, "the broker to lose patience")
        connection.close()

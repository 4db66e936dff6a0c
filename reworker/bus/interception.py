"""Having a message delivered a second time: taken before any other consumer, and given back."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from reworker.bus.contract import Outgoing
from reworker.bus.link import reason_of
from reworker.bus.parameters import connection_parameters, masked_urls
from reworker.config import MqSettings
from reworker.errors import CannotConnect

#: priority of a consumer that gets each message first; others have 0. Source: RabbitMQ, consumer priorities.
FIRST = 1000


def publish_redelivered(settings: MqSettings, queue: str, message: Outgoing, *, timeout_s: float) -> bool:
    """Publish a message that its consumer gets as redelivered; blocks, on a connection of its own.

    Whatever else comes into the queue in the same moment is given back as well.

    Returns:
        whether it was taken and given back; False when another consumer was faster, or no queue takes it.

    Raises:
        CannotConnect: the broker is away, or refuses us.

    Source: AMQP 0-9-1 basic.reject with ``requeue``; RabbitMQ, argument ``x-priority`` of basic.consume.
    """
    try:
        connection = pika.BlockingConnection(connection_parameters(settings, "reworker interception"))
        with contextlib.closing(connection):
            return _publish(connection, queue, message, timeout_s)
    except ChannelClosedByBroker:
        return False
    except (AMQPError, OSError) as error:
        raise CannotConnect(masked_urls(settings), reason_of(error), 1) from error


def _publish(connection: Any, queue: str, message: Outgoing, timeout_s: float) -> bool:
    channel = connection.channel()
    taken: list[tuple[int, str | None]] = []
    tag = channel.basic_consume(
        queue,
        lambda _channel, method, properties, _body: taken.append(
            (method.delivery_tag, properties.correlation_id)
        ),
        arguments={"x-priority": FIRST},
    )
    wanted = message.properties.correlation_id
    properties = pika.BasicProperties(**msgspec.structs.asdict(message.properties))
    channel.basic_publish(message.exchange, message.routing_key, message.body, properties)
    left_count = max(1, int(timeout_s / 0.1))
    while left_count and wanted not in (own_id for _, own_id in taken):
        connection.process_data_events(time_limit=0.1)
        left_count -= 1
    channel.basic_cancel(tag)
    for delivery_tag, _ in taken:
        channel.basic_reject(delivery_tag, requeue=True)
    return wanted in (own_id for _, own_id in taken)

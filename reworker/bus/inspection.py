"""What stands in queues, and who reads them: asked once, on a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import msgspec
import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker

from reworker.bus.parameters import connection_parameters, masked_urls
from reworker.config import MqSettings
from reworker.errors import CannotConnect


class QueueCounts(msgspec.Struct, frozen=True):
    """Messages that wait in a queue for a consumer, and its consumers."""

    message_count: int = 0
    consumer_count: int = 0


def queue_counts(settings: MqSettings, queues: Iterable[str]) -> dict[str, QueueCounts]:
    """Return the counts of those queues that exist. Blocks: not for a thread that has other work.

    Raises:
        CannotConnect: the broker is away, or refuses us.

    Source: AMQP 0-9-1 queue.declare with ``passive``, queue.declare-ok.
    """
    try:
        connection = pika.BlockingConnection(connection_parameters(settings, "reworker inspection"))
        with contextlib.closing(connection):
            counts = {queue: _counts(connection, queue) for queue in queues}
    except (AMQPError, OSError) as error:
        raise CannotConnect(masked_urls(settings), str(error) or type(error).__name__, 1) from error
    return {queue: found for queue, found in counts.items() if found is not None}


def _counts(connection: pika.BlockingConnection, queue: str) -> QueueCounts | None:
    channel = connection.channel()
    try:
        method = channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker:
        return None
    channel.close()
    return QueueCounts(method.message_count, method.consumer_count)

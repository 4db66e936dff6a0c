"""Giving a delivery back to its queue for another worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.bus.contract import (
    Delivery,
    Outcome,
    Outgoing,
    Properties,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.jobs.station import Publisher
from reworker.messages import NOT_AFTER_HEADER
from reworker.topology.names import owes_status

#: seconds a retry waits at the broker: it is rounded up to one of these, each a queue of its own.
DELAYS_S = (1, 2, 5, 10, 30, 60, 300, 900, 3600)
#: milliseconds after which an unused queue of that kind goes away, on top of its delay.
IDLE_MS = 3_600_000
#: header that counts how often a step was given back.
RETURNS_HEADER = "x-returns"
#: header with the first routing key of output or a notification: nobody waits for an answer to it.
KEY_HEADER = "x-routing-key"


def returns_of(delivery: Delivery) -> int:
    """Return how often this step was given back before."""
    headers: Mapping[str, Any] = delivery.properties.headers or {}
    count = headers.get(RETURNS_HEADER)
    return count if isinstance(count, int) else 0


def key_of(delivery: Delivery) -> str:
    """Return the routing key that a message had first: one that was given back comes by its queue's name."""
    headers: Mapping[str, Any] = delivery.properties.headers or {}
    key = headers.get(KEY_HEADER)
    return key if isinstance(key, str) and not owes_status(key) else delivery.routing_key


def return_to_queue(
    bus: Publisher,
    delivery: Delivery,
    queue: str = "",
    *,
    is_begun: bool = False,
    body: bytes | None = None,
) -> None:
    """Give a delivery back, unstarted, or to be tried again; any thread, returns at once.

    A step is published to the queue anew and the old delivery acknowledged when that is confirmed: a plain
    requeue would mark it as redelivered, which means that a worker may have been lost while running it.
    So is everything that goes to a queue of its own, there to wait.

    Args:
        bus: publishes.
        delivery: to give back.
        queue: where to publish it; from `declare_delay`. Empty is its own queue.
        is_begun: it has been begun in time, so that it may go on at any time.
        body: instead of its own.
    """
    if not queue and not owes_status(key_of(delivery)):
        delivery.settle(Verdict.REQUEUE)
        return

    def on_done(result: Published) -> None:
        delivery.settle(Verdict.ACK if result.outcome is Outcome.CONFIRMED else Verdict.REQUEUE)

    message = copy_of(delivery, queue or delivery.queue, is_begun=is_begun, body=body)
    bus.publish(message, on_done)


def declare_delay(bus: Publisher, queue: str, delay_s: float) -> str:
    """Declare a queue whose messages go to `queue` after a delay, and return its name.

    Args:
        bus: declares; waits for the broker, so not on the I/O thread.
        queue: where messages go afterwards.
        delay_s: seconds at least; an hour at most.

    Raises:
        BusError: it cannot be declared.
    """
    rounded_s = next((one for one in DELAYS_S if one >= delay_s), DELAYS_S[-1])
    name = f"{queue}.retry.{rounded_s}s"
    arguments = {
        "x-message-ttl": rounded_s * 1000,
        "x-expires": rounded_s * 1000 + IDLE_MS,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": queue,
    }
    bus.declare(TopologySpec(queues=(QueueSpec(name, arguments=arguments),)))
    return name


def copy_of(delivery: Delivery, queue: str, *, is_begun: bool = False, body: bytes | None = None) -> Outgoing:
    """Return the message of a delivery, addressed to a queue, with one more return counted."""
    old = delivery.properties
    headers = {**(old.headers or {}), RETURNS_HEADER: returns_of(delivery) + 1}
    if is_begun:
        headers.pop(NOT_AFTER_HEADER, None)
    key = key_of(delivery)
    if not owes_status(key):
        headers[KEY_HEADER] = key
    properties = Properties(
        content_type="application/json",
        content_encoding=old.content_encoding,
        headers=headers,
        delivery_mode=2,
        correlation_id=old.correlation_id,
        reply_to=old.reply_to,
        message_id=old.message_id,
        app_id=old.app_id,
    )
    return Outgoing("", queue, delivery.body if body is None else body, properties)

"""Where messages go that nobody can use: the dead-letter queue, each with its reason."""

from __future__ import annotations

import logging

from reworker.bus.contract import Bus, Delivery, Outcome, Outgoing, Properties, Published, Verdict
from reworker.core.counters import Counters
from reworker.messages import REPLY_LIMIT_BYTES
from reworker.topology import names

logger = logging.getLogger(__name__)

REASON_HEADER = "x-reworker-reason"
QUEUE_HEADER = "x-reworker-queue"
#: characters of a reason that travel with the message.
REASON_CHARACTERS = 300


class DeadLetters:
    """Moves deliveries to the dead-letter exchange with their reason; returns at once, any thread."""

    def __init__(self, bus: Bus, counters: Counters) -> None:
        self._bus, self._counters = bus, counters

    def refuse(self, delivery: Delivery, reason: str) -> None:
        """Move one delivery there.

        It is published with its reason and then acknowledged. One that is too large to be published
        again, or whose copy is not confirmed, is rejected instead: the broker moves it, without a reason.
        """
        self._counters.add("dead_lettered")
        logger.warning(
            "message from queue %s (app %s, correlation id %.60r) goes to %s: %s",
            delivery.queue,
            delivery.properties.app_id,
            delivery.properties.correlation_id,
            names.DEAD_QUEUE,
            reason,
        )
        if len(delivery.body) > REPLY_LIMIT_BYTES:
            delivery.settle(Verdict.DEAD_LETTER)
            return

        def on_done(result: Published) -> None:
            is_there = result.outcome is Outcome.CONFIRMED
            delivery.settle(Verdict.ACK if is_there else Verdict.DEAD_LETTER)

        self._bus.publish(_copy(delivery, reason), on_done)


def _copy(delivery: Delivery, reason: str) -> Outgoing:
    properties = Properties(
        content_encoding=delivery.properties.content_encoding,
        correlation_id=delivery.properties.correlation_id,
        reply_to=delivery.properties.reply_to,
        message_id=delivery.properties.message_id,
        app_id=delivery.properties.app_id,
        delivery_mode=2,
        headers={REASON_HEADER: reason[:REASON_CHARACTERS], QUEUE_HEADER: delivery.queue},
    )
    return Outgoing(names.DEAD_EXCHANGE, delivery.routing_key, delivery.body, properties)

"""Acknowledging a message before its job is over, because the broker would not wait for that."""

from __future__ import annotations

import logging

from reworker.bus.contract import Delivery, Verdict

#: seconds a final reply waits for the broker when the message it answers was acknowledged early: a day.
ANSWER_DEADLINE_S = 86_400.0

logger = logging.getLogger(__name__)


class Acknowledged:
    """A delivery that the broker has forgotten; what is left of it can be read and copied.

    From here on nobody gives the message to another worker when this one is lost: the core notices that by
    the heartbeats that stay away.
    """

    def __init__(self, delivery: Delivery) -> None:
        self.body, self.properties = delivery.body, delivery.properties
        self.exchange, self.routing_key = delivery.exchange, delivery.routing_key
        self.redelivered, self.queue = delivery.redelivered, delivery.queue
        self.consumer_tag, self.delivery_tag = delivery.consumer_tag, delivery.delivery_tag

    @property
    def is_live(self) -> bool:
        """Tell that nobody else gets it."""
        return True

    def settle(self, verdict: Verdict) -> None:
        """Do nothing; say so where that is not what was wanted."""
        if verdict is not Verdict.ACK:
            logger.warning(
                "%s: cannot be put back into %s: it was acknowledged before the broker lost patience",
                self.properties.correlation_id,
                self.queue,
            )


def acknowledge(delivery: Delivery) -> Delivery:
    """Acknowledge a delivery, unless that is done; return what takes its place."""
    if isinstance(delivery, Acknowledged):
        return delivery
    delivery.settle(Verdict.ACK)
    return Acknowledged(delivery)

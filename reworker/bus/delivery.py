"""Deliveries of the pika bus."""

from __future__ import annotations

import threading

from reworker.bus.contract import Verdict
from reworker.bus.received import PropertiesView
from reworker.bus.settlement import Epoch
from reworker.errors import AlreadySettled

#: guards "settled once" of every delivery; held for two instructions.
_settling = threading.Lock()


class PikaDelivery:
    """One message as delivered; see `contract.Delivery`. `properties` are pika's `BasicProperties`."""

    __slots__ = (
        "_epoch",
        "_is_settled",
        "body",
        "consumer_tag",
        "delivery_tag",
        "exchange",
        "properties",
        "queue",
        "redelivered",
        "routing_key",
    )

    def __init__(
        self,
        epoch: Epoch,
        delivery_tag: int,
        redelivered: bool,
        exchange: str,
        routing_key: str,
        properties: PropertiesView,
        body: bytes,
    ) -> None:
        self._epoch = epoch
        self._is_settled = False
        self.delivery_tag = delivery_tag
        self.redelivered = redelivered
        self.exchange = exchange
        self.routing_key = routing_key
        self.properties = properties
        self.body = body
        self.consumer_tag = epoch.tag
        self.queue = epoch.queue

    @property
    def is_live(self) -> bool:
        """Tell whether it can still be settled."""
        return self._epoch.is_live

    def settle(self, verdict: Verdict) -> None:
        """Acknowledge or reject, once; any thread, returns at once."""
        with _settling:
            if self._is_settled:
                raise AlreadySettled(f"delivery {self.delivery_tag} of {self.queue} was settled twice")
            self._is_settled = True
        epoch = self._epoch
        epoch.settler.add(epoch, self.delivery_tag, verdict)

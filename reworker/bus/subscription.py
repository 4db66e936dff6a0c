"""One consumer on a channel of its own, opened again whenever it is lost."""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from pika.exceptions import ChannelClosedByBroker

from reworker.bus.contract import Delivery
from reworker.bus.delivery import PikaDelivery
from reworker.bus.limits import Patience, Terms
from reworker.bus.settlement import Epoch, Settler
from reworker.bus.transport import WireConnection

logger = logging.getLogger(__name__)


class Host(Protocol):
    """What a subscription needs of its bus."""

    settler: Settler
    patience: Patience

    def call_soon(self, call: Callable[[], object]) -> None:
        """Run a call on the I/O thread."""
        ...

    def repair(self, subscription: Subscription, attempt: int) -> None:
        """Start the subscription again: at once (0), or after a pause, with the topology declared again."""
        ...

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription that has ended."""
        ...

    def guard(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Call back user code; its errors are logged."""
        ...


def log_failure(callback: Callable[[Any], None]) -> None:
    """Log that user code has raised; called while the error is handled."""
    logger.exception("a callback of the bus failed: %r", callback)


class Subscription:
    """A consumer; see `contract.Consumer`. All but `cancel` and `is_active` only on the I/O thread.

    Args:
        host: the bus.
        queue: name of the queue.
        on_delivery: called for each delivery.
        prefetch: unsettled deliveries at most; 0 is without limit.
        longest_s: seconds that a delivery may stay unsettled; see `contract.Bus.consume`.
        channel_number: number of its channel, the same in every life.
    """

    _tags = itertools.count(1)

    def __init__(
        self,
        host: Host,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        prefetch: int,
        longest_s: float | None,
        channel_number: int,
    ) -> None:
        self.queue, self.channel_number = queue, channel_number
        self.is_cancelled = False
        self.last_error = ""
        self._host, self._on_delivery, self._prefetch = host, on_delivery, prefetch
        self._longest_s, self._terms = longest_s, Terms()
        self._connection: WireConnection | None = None
        self._channel: Any = None
        self._epoch: Epoch | None = None
        self._is_active = False
        self._failed_count = 0

    @property
    def is_active(self) -> bool:
        """Whether the broker has confirmed the consumer and not cancelled it since."""
        return self._is_active

    @property
    def ack_within_s(self) -> float | None:
        """Seconds after a delivery in which it is to be settled; see `contract.Consumer`."""
        return self._terms.ack_within_s

    def cancel(self) -> None:
        """Ask for no more deliveries. Safe twice."""
        if not self.is_cancelled:
            self.is_cancelled = True
            self._host.call_soon(self._cancel)

    def start(self, connection: WireConnection) -> None:
        """Open a channel and consume on it, unless that is under way."""
        if self.is_cancelled or self._channel is not None:
            return
        self._connection = connection
        self._channel = connection.channel(self.channel_number, on_open_callback=self._on_open)
        self._channel.add_on_close_callback(self._on_closed)

    def on_down(self) -> None:
        """Forget everything of the lost connection."""
        self._end_epoch()
        self._connection = self._channel = None
        if self.is_cancelled:
            self._host.forget(self)

    def _on_open(self, channel: Any) -> None:
        if self._connection is None:
            return
        tag = f"reworker.{uuid.uuid4().hex[:8]}.{next(self._tags)}"
        self._epoch = Epoch(self.queue, tag, self.channel_number, self._host.settler)
        self._connection.reader.delivery_sinks[self.channel_number] = self
        channel.add_on_cancel_callback(self._on_cancelled_by_broker)
        self._begin(channel, self._epoch)

    def _begin(self, channel: Any, epoch: Epoch) -> None:
        if self._prefetch:
            channel.basic_qos(prefetch_count=self._prefetch)
        self._terms = self._host.patience.terms(self.queue, self._longest_s)
        # Deliveries come by `FrameReader.delivery_sinks`, not by pika's callback.
        channel.basic_consume(
            self.queue,
            _never_called,
            consumer_tag=epoch.tag,
            arguments=dict(self._terms.arguments) or None,
            callback=self._on_consuming,
        )

    def _on_consuming(self, _frame: Any) -> None:
        self._is_active = not self.is_cancelled
        self._failed_count, self.last_error = 0, ""
        if self.is_cancelled:
            self._cancel()

    def on_deliver(
        self, tag: int, redelivered: bool, exchange: str, routing_key: str, properties: Any, body: bytes
    ) -> None:
        """Hand a delivery to the user of the bus."""
        epoch = self._epoch
        if epoch is not None:
            epoch.unsettled_count += 1
            delivery = PikaDelivery(
                epoch, tag, redelivered, exchange, routing_key, properties, body, epoch.tag, epoch.queue
            )
            try:
                self._on_delivery(delivery)
            except Exception:  # noqa: BLE001  it is the user's, and is logged there
                log_failure(self._on_delivery)

    def _cancel(self) -> None:
        if self._channel is None:
            self._host.forget(self)
        elif self._channel.is_open and self._epoch is not None:
            self._channel.basic_cancel(self._epoch.tag, callback=self._on_cancel_ok)

    def _on_cancel_ok(self, _frame: Any) -> None:
        """Close the channel once nothing that was delivered on it is unsettled."""
        self._is_active = False
        if self._epoch is not None:
            self._epoch.when_settled = self._close_if_settled
            self._close_if_settled()

    def _close_if_settled(self) -> None:
        is_open = self._channel is not None and self._channel.is_open
        if is_open and self._epoch is not None and not self._epoch.unsettled_count:
            self._channel.close()

    def _on_cancelled_by_broker(self, _frame: Any) -> None:
        """Close the channel: its queue is gone, or the broker lost patience with an acknowledgement."""
        self._is_active = False
        self.last_error = f"the broker cancelled the consumer of {self.queue}"
        logger.warning("%s; consuming again on a fresh channel", self.last_error)
        self._host.patience.forget(self.queue)
        self._end_epoch()
        if self._channel is not None and self._channel.is_open:
            self._channel.close()

    def _on_closed(self, _channel: Any, reason: Exception) -> None:
        is_lost = self._channel is None or self._connection is None or not self._connection.is_open
        self._end_epoch()
        self._channel = None
        if is_lost:
            return
        if self.is_cancelled:
            self._host.forget(self)
            return
        if isinstance(reason, ChannelClosedByBroker):
            if self._host.patience.note_refusal(self.queue, reason.reply_code, reason.reply_text):
                self._host.repair(self, 0)
                return
            self._report(f"the broker closed the channel that consumes {self.queue}: {reason.reply_text}")
        self._failed_count += 1
        self._host.repair(self, self._failed_count)

    def _report(self, error: str) -> None:
        if error != self.last_error or self._failed_count == 0:
            logger.warning("%s; it is opened again", error)
        self.last_error = error

    def _end_epoch(self) -> None:
        self._is_active = False
        if self._epoch is not None:
            self._epoch.is_live = False
            self._epoch = None
        if self._connection is not None:
            self._connection.reader.delivery_sinks.pop(self.channel_number, None)


def _never_called(*_arguments: Any) -> None:
    raise AssertionError("a delivery took the long way round")

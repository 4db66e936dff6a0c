"""A consumer that asks for one message at a time, at a pace of its own, instead of having them pushed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pika

from reworker.bus import frames, subscription
from reworker.bus.contract import Delivery
from reworker.bus.settlement import Epoch


class Host(subscription.Host, Protocol):
    """What a pull needs of its bus."""

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Run a call on the I/O thread after some seconds, if the bus is still open."""
        ...


class Pull(subscription.Subscription):
    """A consumer by basic.get; see `contract.Consumer` and `Subscription`.

    It is active from the first answer of the broker on, so that a queue that is not there is noticed.

    Args:
        host: the bus.
        queue: name of the queue.
        on_delivery: called for each delivery.
        every_s: seconds between two questions.
        options: see `Subscription`.
    """

    def __init__(
        self,
        host: Host,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        every_s: float,
        **options: Any,
    ) -> None:
        super().__init__(host, queue, on_delivery, **options)
        self._pull_host, self._every_s = host, every_s
        self._is_asking = False

    def _begin(self, channel: Any, epoch: Epoch) -> None:
        self._is_asking = False
        self._terms = self._host.patience.terms(self.queue, self._longest_s, may_ask=False)
        channel.add_callback(self._on_empty, [pika.spec.Basic.GetEmpty], one_shot=False)
        self._ask(epoch)

    def _ask(self, epoch: Epoch) -> None:
        if self.is_cancelled or self._epoch is not epoch or self._connection is None:
            return
        has_room = not self._prefetch or epoch.unsettled_count < self._prefetch
        if has_room and not self._is_asking:
            self._is_asking = True
            self._connection.write_raw(frames.get_frame(self.channel_number, self.queue))
        self._pull_host.call_later(self._every_s, lambda: self._ask(epoch))

    def on_deliver(
        self, tag: int, redelivered: bool, exchange: str, routing_key: str, properties: Any, body: bytes
    ) -> None:
        """Hand on the message that was asked for."""
        super().on_deliver(tag, redelivered, exchange, routing_key, properties, body)
        self._on_answer()

    def _on_empty(self, _frame: Any) -> None:
        self._on_answer()

    def _on_answer(self) -> None:
        self._is_asking = False
        self._on_consuming(None)

    def _cancel(self) -> None:
        self._is_active = False
        if self._channel is None:
            self._host.forget(self)
        elif self._channel.is_open:
            self._on_cancel_ok(None)

    def _close_if_settled(self) -> None:
        if not self._is_asking:  # the answer may be a message
            super()._close_if_settled()

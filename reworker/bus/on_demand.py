"""A consumer that takes a message only when somebody waits for one: by basic.get, then by basic.consume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika

from reworker.bus import frames, subscription
from reworker.bus.contract import Delivery, Demand
from reworker.bus.delivery import PikaDelivery
from reworker.bus.settlement import Epoch

#: messages asked for at once at most; as many as that are asked for only while the queue has them.
MAX_ASKED_COUNT = 16


class OnDemand(subscription.Subscription):
    """A consumer for those who wait; see `contract.Bus.consume_on_demand` and `Subscription`.

    First it asks for single messages. When the queue is empty, the broker may push one, to a consumer that
    ends with it: it is for one who waits, and the next may have to go to somebody else's consumer. The two
    ways never overlap, so that each answer is known to be one.

    Args:
        host: the bus.
        queue: name of the queue.
        on_delivery: called for each delivery.
        demand: says how many messages are wanted.
        options: see `Subscription`.
    """

    def __init__(
        self,
        host: subscription.Host,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        demand: Demand,
        **options: Any,
    ) -> None:
        super().__init__(host, queue, on_delivery, **options)
        self._demand = demand
        self._asked_count, self._most_asked, self._lost_count = 0, 1, 0
        self._tag = ""
        self._is_ending = False

    def look(self) -> None:
        """Look whether more is wanted than before; any thread."""
        self._host.call_soon(self._look)

    def _begin(self, channel: Any, epoch: Epoch) -> None:
        self._asked_count, self._most_asked = 0, 1
        self._tag, self._is_ending = "", False
        # Not on terms of its own: basic.get has no arguments, and all that it takes lies on one channel.
        self._terms = self._host.patience.terms(self.queue, self._longest_s, may_ask=False)
        channel.add_callback(self._on_empty, [pika.spec.Basic.GetEmpty], one_shot=False)
        channel.add_callback(self._on_ended, [pika.spec.Basic.CancelOk], one_shot=False)
        channel.basic_qos(prefetch_count=1)
        self._is_active = not self.is_cancelled
        lost_count, self._lost_count = self._lost_count, 0
        self._host.guard(self._demand.on_begun, lost_count)
        self._look()

    def _look(self) -> None:
        if self._epoch is None or self._connection is None or self.is_cancelled or self._is_ending:
            return
        wanted_count = self._demand.wanted_count()
        if self._tag:
            if wanted_count:  # the queue is empty, or its message would be here
                self._host.guard(lambda _: self._demand.on_empty(), None)
            if not self._demand.wanted_count():
                self._end_consumer()
            return
        count = min(wanted_count, self._most_asked) - self._asked_count
        for _ in range(count):
            self._asked_count += 1
            self._connection.write_raw(frames.get_frame(self.channel_number, self.queue))

    def on_deliver(
        self, tag: int, redelivered: bool, exchange: str, routing_key: str, properties: Any, body: bytes
    ) -> None:
        """Hand on a message that was asked for, or pushed."""
        epoch = self._epoch
        if epoch is None:
            return
        self._on_consuming(None)
        epoch.unsettled_count += 1
        if not self._tag:
            self._asked_count -= 1
            self._most_asked = min(2 * self._most_asked, MAX_ASKED_COUNT)
        elif not self._is_ending:
            # It takes no second one, so nothing more can come by it.
            self._write(pika.spec.Basic.Cancel(consumer_tag=self._tag, nowait=True))
            self._tag = ""
        delivery = PikaDelivery(
            epoch, tag, redelivered, exchange, routing_key, properties, body, epoch.tag, epoch.queue
        )
        self._host.guard(self._on_delivery, delivery)
        self._go_on()

    def _on_empty(self, _frame: Any) -> None:
        self._on_consuming(None)
        self._asked_count, self._most_asked = self._asked_count - 1, 1
        if not self._asked_count and not self.is_cancelled:
            self._host.guard(lambda _: self._demand.on_empty(), None)
            if self._demand.wanted_count():
                self._consume()
        self._close_if_done()

    def _consume(self) -> None:
        if self._epoch is not None:
            self._tag = f"{self._epoch.tag}.{next(self._tags)}"
            self._write(pika.spec.Basic.Consume(queue=self.queue, consumer_tag=self._tag, nowait=True))

    def _end_consumer(self) -> None:
        """Nobody waits any more: until the broker has answered, a message may still come."""
        self._is_ending = True
        self._write(pika.spec.Basic.Cancel(consumer_tag=self._tag))

    def _on_ended(self, _frame: Any) -> None:
        self._tag, self._is_ending = "", False
        self._go_on()

    def _go_on(self) -> None:
        self._look()
        self._close_if_done()

    def _write(self, method: Any) -> None:
        if self._connection is not None:
            self._connection.write_raw(pika.frame.Method(self.channel_number, method).marshal())

    def _cancel(self) -> None:
        self._is_active = False
        if self._channel is None:
            self._host.forget(self)
        elif self._channel.is_open:
            if self._tag and not self._is_ending:
                self._end_consumer()
            self._on_cancel_ok(None)

    def _close_if_done(self) -> None:
        if self.is_cancelled:
            self._close_if_settled()

    def _close_if_settled(self) -> None:
        if not self._asked_count and not self._tag:  # the answer may be a message
            super()._close_if_settled()

    def _end_epoch(self) -> None:
        if self._epoch is not None:
            self._lost_count += self._epoch.unsettled_count
        super()._end_epoch()

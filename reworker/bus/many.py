"""A consumer of many queues: it takes one message at a time, from whichever has one, by basic.get."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pika
from pika.exceptions import ChannelClosedByBroker

from reworker.bus import frames, subscription
from reworker.bus.contract import Delivery
from reworker.bus.delivery import PikaDelivery
from reworker.bus.pulling import Host
from reworker.bus.rota import Rota, Turn
from reworker.bus.settlement import Epoch

logger = logging.getLogger(__name__)

#: seconds after which a queue is asked again that has rung and gave nothing: a broker may hand out the copy
#: that rings before the message itself can be seen.
SECOND_LOOK_S = 0.05
#: the queue is not there, not for us, or another connection's. Source: AMQP 0-9-1, constants.
NOT_FOUND = 404
REFUSALS = (403, NOT_FOUND, 405)


class ManyPull(subscription.Subscription):
    """A consumer of many queues; see `contract.Bus.consume_any` and `Subscription`.

    While something that it has taken is unsettled, it asks for nothing. So its channel has nothing to lose
    when the broker closes it, because a queue is not there.

    Args:
        host: the bus.
        queue: stands for all of them: the key of the rota.
        on_delivery: called for each delivery.
        rota: says whose turn it is.
        options: see `Subscription`.
    """

    def __init__(
        self, host: Host, queue: str, on_delivery: Callable[[Delivery], None], *, rota: Rota, **options: Any
    ) -> None:
        super().__init__(host, queue, on_delivery, **options)
        self._many_host, self._rota = host, rota
        self._turn: Turn | None = None

    def wake(self) -> None:
        """Look for a turn; any thread."""
        self._host.call_soon(self._on_woken)

    def _begin(self, channel: Any, epoch: Epoch) -> None:
        self._turn = None
        self._terms = self._host.patience.terms(self.queue, self._longest_s, may_ask=False)
        channel.add_callback(self._on_empty, [pika.spec.Basic.GetEmpty], one_shot=False)
        epoch.when_settled = self._look
        self._on_consuming(None)
        self._rota.meet(self._connection)
        self._look()

    def _is_free(self) -> bool:
        epoch = self._epoch
        if epoch is None or self._turn is not None:
            return False
        return not epoch.unsettled_count and not self.is_cancelled

    def _on_woken(self) -> None:
        if self._is_free():
            self._look()
        else:  # it was meant for somebody who takes
            self._rota.leave(self)

    def _look(self) -> None:
        if self._is_free() and self._connection is not None:
            self._turn = self._rota.take(self)
            if self._turn is not None:
                self._connection.write_raw(frames.get_frame(self.channel_number, self._turn.queue))

    def on_deliver(
        self, tag: int, redelivered: bool, exchange: str, routing_key: str, properties: Any, body: bytes
    ) -> None:
        """Hand on the message that was asked for."""
        epoch, turn, self._turn = self._epoch, self._turn, None
        if epoch is None or turn is None:
            return
        epoch.unsettled_count += 1
        delivery = PikaDelivery(
            epoch, tag, redelivered, exchange, routing_key, properties, body, epoch.tag, turn.queue
        )
        self._rota.found(turn)
        self._host.guard(self._on_delivery, delivery)
        self._go_on()

    def _on_empty(self, _frame: Any) -> None:
        turn, self._turn = self._turn, None
        if turn is not None and self._rota.empty(turn):
            self._many_host.call_later(SECOND_LOOK_S, functools.partial(self._rota.doubt, turn.queue))
        self._go_on()

    def _go_on(self) -> None:
        if self.is_cancelled:
            self._cancel()
        else:
            self._look()

    def _cancel(self) -> None:
        self._is_active = False
        self._rota.leave(self)
        if self._channel is None:
            self._host.forget(self)
        elif self._channel.is_open:
            self._on_cancel_ok(None)

    def _close_if_settled(self) -> None:
        if self._turn is None:  # the answer may be a message
            super()._close_if_settled()

    def _on_closed(self, channel: Any, reason: Exception) -> None:
        turn, self._turn = self._turn, None
        if turn is None or not isinstance(reason, ChannelClosedByBroker) or reason.reply_code not in REFUSALS:
            if turn is not None:
                self._rota.doubt(turn.queue)
            super()._on_closed(channel, reason)
            return
        lost = self._rota.missing(turn)
        log = logger.warning if lost else logger.debug
        log("%s could not be asked for a message: %s", turn.queue, reason.reply_text)
        if reason.reply_code == NOT_FOUND:  # of others we cannot know
            for call in lost:
                self._host.guard(lambda done: done(), call)
        self._end_epoch()
        self._channel = None
        if self.is_cancelled:
            self._host.forget(self)
        else:
            self._is_active = True  # as good as open: the queue is not there, everything else is
            self._host.repair(self, 0)

    def _end_epoch(self) -> None:
        super()._end_epoch()
        self._rota.leave(self)

"""The core's side of the talk: queues of its own for replies and output, and waiting for what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from reworker.bus.contract import (
    BindingSpec,
    Bus,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Published,
    QueueSpec,
    TopologySpec,
    Verdict,
    publish_and_tell,
)
from reworker.bus.received import correlation_of
from reworker.clock import Clock
from reworker.conformance.talk import Heard, Talk
from reworker.errors import MessageError
from reworker.ids import attempt_id, new_id
from reworker.messages import decode_object
from reworker.topology import names

#: replies to nobody that are kept as evidence.
STRAY_COUNT = 100


class Desk:
    """Sends steps, and notes what is said about them.

    Threads: deliveries come on the bus's thread; everything else is for one other.

    Args:
        bus: open.
        clock: for when something came.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self.clock = bus, clock
        own = new_id(clock.now())
        self.reply_to = f"{names.EXCHANGE}.conformance.{own}"
        self._output = f"{self.reply_to}.output"
        self.talks: dict[str, Talk] = {}
        #: replies under the id of no step.
        self.strays: list[Heard] = []
        self._news = threading.Condition()

    def open(self) -> None:
        """Have the queues, which go with the connection; waits for the broker.

        Raises:
            TopologyMismatch, ConnectionLost: see `Bus.declare`.
        """
        queues = tuple(
            QueueSpec(name, durable=False, exclusive=True, auto_delete=True)
            for name in (self.reply_to, self._output)
        )
        exchanges = (ExchangeSpec(names.EXCHANGE), ExchangeSpec(names.CONTROL_EXCHANGE))
        bindings = (BindingSpec(names.EXCHANGE, self._output, names.OUTPUT_KEY),)
        self._bus.declare(TopologySpec(exchanges=exchanges, queues=queues, bindings=bindings))
        self._bus.consume(self.reply_to, self._on_reply, prefetch=0)
        self._bus.consume(self._output, self._on_line, prefetch=0)

    def new_talk(self) -> Talk:
        """Return the talk about a step that is to be sent."""
        own_id = attempt_id(new_id(self.clock.now()), 1)
        self.talks[own_id] = Talk(own_id, self.clock.mono_s())
        return self.talks[own_id]

    def publish(self, message: Outgoing, *, deadline_s: float) -> Published:
        """Publish, and return what has become of it."""
        return publish_and_tell(self._bus, message, deadline_s=deadline_s)

    def wait(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until something that was heard makes this true; return whether it did."""
        with self._news:
            return self._news.wait_for(is_done, timeout_s)

    def _on_reply(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        heard = heard_in(delivery, self.clock.mono_s())
        with self._news:
            talk = self.talks.get(heard.correlation_id or "")
            if talk is not None:
                talk.heard.append(heard)
            elif len(self.strays) < STRAY_COUNT:
                self.strays.append(heard)
            self._news.notify_all()

    def _on_line(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        talk = self.talks.get(correlation_of(delivery.properties) or "")
        with self._news, suppress(MessageError):
            if talk is not None:
                talk.lines.append(str(decode_object(delivery.body).get("message")))
                self._news.notify_all()


def heard_in(delivery: Delivery, at_mono_s: float) -> Heard:
    """Return what a delivery says, however odd it is."""
    properties = delivery.properties
    value = None
    with suppress(MessageError):
        value = decode_object(delivery.body, properties.content_encoding)
    return Heard(
        value=value,
        correlation_id=correlation_of(properties),
        message_id=properties.message_id,
        app_id=properties.app_id,
        headers=properties.headers or {},
        at_mono_s=at_mono_s,
    )

"""What the I/O thread of a bus does: brings everything up on a new connection, and repairs what is lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pika

from reworker import backoff
from reworker.bus.canary import Canary
from reworker.bus.contract import DeclareMode, Delivery, TopologySpec
from reworker.bus.declarer import Declarer, OnDeclared
from reworker.bus.limits import Patience, product_of
from reworker.bus.link import RETRY_BASE_S, RETRY_CAP_S, Link
from reworker.bus.publish_channel import PublishChannel
from reworker.bus.publisher import Pending, Publisher
from reworker.bus.reactor import Reactor
from reworker.bus.settlement import Settler
from reworker.bus.subscription import Subscription, log_failure
from reworker.bus.transport import WireConnection
from reworker.clock import Clock
from reworker.errors import TopologyMismatch

logger = logging.getLogger(__name__)

#: seconds between two looks at the deadlines of publishes.
TICK_S = 0.1
#: seconds for the closing handshake, after the flush.
CLOSE_S = 2.0
#: first channel number for consumers; those below publish and declare.
FIRST_CONSUMER_CHANNEL = 3
CLOSED = "the bus is closed"


class Engine:
    """The parts of one bus and their life on the I/O thread.

    `start`, `add_subscription`, `add_publish`, `declare`, `close`, `wake` and the attributes may be used
    by any thread; the rest is called by the parts.

    Args:
        clock: for deadlines and the log.
        rand: randomness of pauses between tries.
        ack_timeout_s: how long the broker waits for an acknowledgement; None is the default of its version.
    """

    def __init__(
        self, clock: Clock, rand: Callable[[], float], *, ack_timeout_s: float | None = None
    ) -> None:
        self.publisher = Publisher(log_failure)
        self.publishing = PublishChannel(self.publisher, clock, self._redeclare)
        self.settler = Settler(self.wake)
        self.patience = Patience(ack_timeout_s)
        self.subscriptions: list[Subscription] = []
        self.canary: Canary | None = None
        self.link: Link | None = None
        self.opened = threading.Event()
        self.refusal = ""
        self.last_error = ""
        self.is_closed = False
        self._clock, self._rand = clock, rand
        self.declarer = Declarer()
        self._reactor: Reactor | None = None
        self._numbering = threading.Lock()
        self._redeclare_count = 0
        self._is_ticking = self._is_closing = self._is_ending = False
        self._close_at_mono_s = 0.0

    # ---- any thread

    def start(
        self, parameters: Callable[[], Sequence[pika.ConnectionParameters]], url: str, name: str
    ) -> None:
        """Start the I/O thread and begin to connect, each time with fresh parameters."""
        self.opened.clear()
        self.refusal = ""
        self.is_closed = self._is_closing = self._is_ending = False
        reactor = Reactor(name, on_turn=self._on_turn, on_crash=self._on_crash, on_end=self._on_end)
        self._reactor = reactor
        self.link = Link(reactor, parameters, url, self, self._clock, self._rand)
        reactor.call_soon(self.link.start)
        reactor.start()

    def wake(self) -> None:
        """Make the I/O thread look at its queues."""
        reactor = self._reactor
        if reactor is not None and not reactor.is_awake:
            reactor.wake()

    def call_soon(self, call: Callable[[], object]) -> None:
        """Run a call on the I/O thread; before `start` there is nothing to be done."""
        if self._reactor is not None:
            self._reactor.call_soon(call)

    def add_publish(self, pending: Pending) -> None:
        """Queue a publish."""
        self.publisher.add(pending)
        reactor = self._reactor
        if self.is_closed:  # no I/O thread is left to look at it
            self.publisher.end_all(CLOSED)
        elif reactor is not None and not reactor.is_awake:  # it mostly is: that spares a call for each
            reactor.wake()

    def add_subscription(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        kind: Callable[..., Subscription] = Subscription,
        **options: Any,
    ) -> Subscription:
        """Begin to consume; see the kind of subscription for the options."""
        with self._numbering:
            taken = {one.channel_number for one in self.subscriptions}
            number = next(n for n in range(FIRST_CONSUMER_CHANNEL, 1 << 16) if n not in taken)
            subscription = kind(self, queue, on_delivery, channel_number=number, **options)
            self.subscriptions.append(subscription)
        self.call_soon(lambda: self._start_subscription(subscription))
        return subscription

    def declare(self, topology: TopologySpec, mode: DeclareMode, on_done: OnDeclared) -> None:
        """Declare, and again after each reconnection unless it is refused."""

        def on_declared(errors: list[TopologyMismatch] | None) -> None:
            if not errors and (topology, mode) not in self.declarer.kept:
                self.declarer.kept.append((topology, mode))
            on_done(errors)

        if self._reactor is None:
            on_declared(None)
        else:
            self._reactor.call_soon(lambda: self.declarer.declare(topology, mode, on_declared))

    def close(self, deadline_s: float) -> None:
        """Flush and end; waits, but for a call on the I/O thread itself."""
        if self._reactor is None:
            self._on_end()
            return
        if not self._is_closing:
            self._close_at_mono_s = self._clock.mono_s() + deadline_s
            self._is_closing = True
            self._reactor.wake()
        self._reactor.join(deadline_s + 2 * CLOSE_S)

    # ---- the I/O thread

    def guard(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Call the user of the bus; an error is a bug there and must not cost the connection."""
        try:
            callback(argument)
        except Exception:  # noqa: BLE001  it is logged there
            log_failure(callback)

    def _on_turn(self) -> None:
        settled_count = self.settler.waiting_count  # before publishing: what was sent first goes first
        connection = self.link.connection if self.link is not None else None
        self.publishing.pump()
        if settled_count:
            # Once the closing handshake has begun, a verdict would be a frame on a channel that is gone.
            self.settler.write(settled_count, None if self._is_ending else connection)
        if self._is_closing:
            self._advance_close()
        if connection is not None:
            connection.flush()
        if not self._is_ticking and self.publisher.pending_count:
            self._tick()

    def _tick(self) -> None:
        self.publisher.expire(self._clock.mono_s())
        self._is_ticking = self.publisher.pending_count > 0
        if self._is_ticking and self._reactor is not None:
            self._reactor.call_later(TICK_S, self._tick)

    def on_up(self, connection: WireConnection) -> None:
        """Declare, then publish and consume on a new connection."""
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self.patience.meet(product_of(connection.server_properties))
        self.declarer.on_up(connection)
        self._redeclare(lambda: self._serve(connection))
        self.opened.set()

    def on_down(self, reason: str) -> None:
        """Put everything into the state of waiting for a connection."""
        self.last_error = f"connection lost: {reason}"
        self.publishing.on_down()
        for subscription in list(self.subscriptions):
            subscription.on_down()
        if self.canary is not None:
            self.canary.on_down()
        self.declarer.on_down()

    def on_refused(self, reason: str) -> None:
        """Tell a first `open` that there is no use in waiting."""
        self.refusal = reason
        self.opened.set()

    def on_stopped(self) -> None:
        """End the thread: the link is closed."""
        if self._reactor is not None:
            self._reactor.stop()

    def _serve(self, connection: WireConnection) -> None:
        if connection.is_open:
            self.publishing.on_up(connection)
            for subscription in list(self.subscriptions):
                subscription.start(connection)
            if self.canary is not None:
                self.canary.on_up()

    def _redeclare(self, then: Callable[[], object]) -> None:
        """Declare every topology again, then go on, whatever came of it."""
        left_count = len(self.declarer.kept)
        errors: list[TopologyMismatch] = []

        def on_declared(found: list[TopologyMismatch] | None) -> None:
            nonlocal left_count
            left_count -= 1
            errors.extend(found or ())
            if left_count == 0 and found is not None:
                self._on_redeclared(errors)
                then()

        for topology, mode in list(self.declarer.kept):
            self.declarer.declare(topology, mode, on_declared)
        if not self.declarer.kept:
            then()

    def _on_redeclared(self, errors: list[TopologyMismatch]) -> None:
        if not errors:
            self.last_error, self._redeclare_count = "", 0
            return
        if str(errors[0]) != self.last_error:
            logger.error("the topology could not be declared again: %s", errors[0])
        self.last_error = str(errors[0])
        self._redeclare_count += 1
        self._later(self._redeclare_count, lambda: self._redeclare(_nothing))

    def call_later(self, delay_s: float, call: Callable[[], object]) -> None:
        """Run a call after some seconds."""
        if self._reactor is not None:
            self._reactor.call_later(delay_s, call)

    def _later(self, attempt: int, call: Callable[[], object]) -> None:
        """Run a call after a pause, if the connection is the same by then."""
        link = self.link
        if self._reactor is None or link is None:
            return
        connection = link.connection
        pause_s = backoff.delay_s(attempt, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rand=self._rand)
        self._reactor.call_later(pause_s, lambda: link.connection is connection is not None and call())

    def repair(self, subscription: Subscription, attempt: int) -> None:
        """Consume again: at once, or after a pause and declaring again, since the queue may be gone."""
        if attempt == 0:  # pika forgets the old channel only after its callback
            self.call_later(0, lambda: self._start_subscription(subscription))
        else:
            self._later(attempt, lambda: self._redeclare(lambda: self._start_subscription(subscription)))

    def forget(self, subscription: Subscription) -> None:
        """Drop a subscription that was cancelled."""
        with self._numbering:
            if subscription in self.subscriptions:
                self.subscriptions.remove(subscription)

    def _start_subscription(self, subscription: Subscription) -> None:
        connection = self.link.connection if self.link is not None else None
        if connection is not None and connection.is_open:
            subscription.start(connection)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.publishing.is_blocked = True
        logger.warning("the broker blocks publishing: %s", frame.method.reason)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.publishing.is_blocked = False
        logger.info("the broker lets us publish again")

    def _on_crash(self, error: Exception) -> None:
        if self.link is not None:
            self.link.abort(repr(error))

    def _advance_close(self) -> None:
        if self._is_ending or self._reactor is None or self.link is None:
            return
        left_s = self._close_at_mono_s - self._clock.mono_s()
        if left_s > 0 and self.publisher.pending_count:
            self._reactor.call_later(min(left_s, TICK_S), _nothing)
            return
        self._is_ending = True
        self.publisher.end_all(CLOSED)
        link = self.link
        self._reactor.call_later(CLOSE_S, lambda: link.abort(CLOSED))
        self._reactor.call_later(CLOSE_S * 1.5, self._reactor.stop)
        link.stop()

    def _on_end(self) -> None:
        self.is_closed = True
        self.publisher.end_all(CLOSED)
        self.declarer.on_down()


def _nothing() -> None:
    return None

"""The bus on a real broker: one connection of pika's, one I/O thread, everything repaired until closed."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable

import msgspec
import pika

from reworker.bus import frames
from reworker.bus.canary import Canary, CanarySettings
from reworker.bus.contract import (
    PUBLISH_DEADLINE_S,
    DeclareMode,
    Delivery,
    Demand,
    Health,
    Outgoing,
    Properties,
    Published,
    TopologySpec,
)
from reworker.bus.declarer import OnDeclared
from reworker.bus.engine import Engine
from reworker.bus.limits import PRECONDITION_FAILED
from reworker.bus.many import ManyPull
from reworker.bus.on_demand import OnDemand
from reworker.bus.parameters import connection_parameters, masked_urls, quiet_pika
from reworker.bus.publish_channel import CHANNEL_NUMBER
from reworker.bus.publisher import Pending
from reworker.bus.pulling import Pull
from reworker.bus.pulse import Pulse
from reworker.bus.queue_state import OnFound, QueueState
from reworker.bus.rota import Rota
from reworker.bus.subscription import Subscription
from reworker.clock import Clock, SystemClock
from reworker.config import MqSettings
from reworker.errors import CannotConnect, ConnectionLost, TopologyMismatch

#: encoded method frames kept, by exchange and routing key.
CACHED_FRAMES_COUNT = 1024
#: seconds between two looks whether a bus that is asked to declare has been closed meanwhile.
CLOSED_CHECK_S = 0.5


class PikaBus:
    """A bus on RabbitMQ, the embedded broker or anything that speaks AMQP 0-9-1; see `contract.Bus`.

    The constructor starts no thread and opens no socket, so that a process may fork before `open`.
    Once closed it stays closed; a failed `open` may be repeated.

    Args:
        settings: where the broker is and who we are.
        name: of the connection, as the broker shows it, and of the thread.
        clock: for deadlines and the log.
        rand: randomness of pauses between tries.
        canary: sends the bus a message now and then, to see that the broker delivers; None is none.
    """

    def __init__(
        self,
        settings: MqSettings,
        *,
        name: str = "",
        clock: Clock | None = None,
        rand: Callable[[], float] = random.random,
        canary: CanarySettings | None = None,
    ) -> None:
        self._settings, self._name = settings, name
        self._url = masked_urls(settings)
        self._clock: Clock = clock or SystemClock()
        self._engine = Engine(self._clock, rand, ack_timeout_s=settings.ack_timeout_s)
        self._pulse = Pulse(self._clock, self._engine.call_soon)
        self._method_frame = functools.lru_cache(CACHED_FRAMES_COUNT)(_method_frame)
        self._is_stamping = False
        self._use_name_of(settings)
        if canary is not None:
            self._engine.canary = Canary(canary, _Perch(self, self._engine), self._clock)

    def open(self, *, timeout_s: float) -> None:
        """Start the I/O thread and wait until connected; see `contract.Bus.open`.

        Raises:
            ConfigError: a TLS file or the file of the password cannot be used.
            CannotConnect: not connected in time, or the broker refuses login or virtual host.
        """

        def parameters() -> list[pika.ConnectionParameters]:
            settings = self._settings
            self._use_name_of(settings)
            return connection_parameters(settings, self._name)

        parameters()  # what is wrong from the start is an error now, and no reason to try on
        quiet_pika()
        engine = self._engine
        engine.start(parameters, self._url, f"bus {self._name}".strip())
        until_mono_s = self._clock.mono_s() + timeout_s
        # In short stretches: a signal that comes just before a wait is noticed after it.
        while (left_s := until_mono_s - self._clock.mono_s()) > 0:
            if engine.opened.wait(min(left_s, CLOSED_CHECK_S)):
                break
        if engine.opened.is_set() and not engine.refusal:
            return
        tries, reason = 0, engine.refusal
        if engine.link is not None:
            tries, reason = engine.link.failed_count, reason or engine.link.last_error
        engine.close(0)
        raise CannotConnect(self._url, reason or f"no answer in {timeout_s:g} s", tries)

    def stamp(self) -> None:
        """Name our user as the sender of every message; see `contract.Bus.stamp`."""
        self._is_stamping = True
        self._use_name_of(self._settings)

    def _use_name_of(self, settings: MqSettings) -> None:
        """Have messages carry the name that the next connection is known by, if they are to carry one."""
        self.user_id = settings.stamp_user or (settings.user if self._is_stamping else "")
        self._header_frame = frames.header_frame
        if self.user_id:
            self._header_frame = functools.partial(_stamped_header_frame, self.user_id)

    def renew(self, settings: MqSettings) -> None:
        """Use these settings from the next connection on; the present one is kept. Any thread."""
        self._settings = settings
        if self._engine.link is not None:
            self._engine.link.url = masked_urls(settings)

    def declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """Declare now and after each reconnection; see `contract.Bus.declare`."""
        errors = self._answer_to(lambda on_done: self._engine.declare(topology, mode, on_done))
        if errors is None:
            raise ConnectionLost("the connection was lost; the topology is declared when it is back")
        if errors:
            raise errors[0]

    def delete(self, queue: str) -> bool:
        """Delete an empty queue; see `contract.Bus.delete`."""
        engine = self._engine
        errors: list[TopologyMismatch] | None = None
        if engine.link is not None:
            delete = engine.declarer.delete
            errors = self._answer_to(lambda done: engine.call_soon(lambda: delete(queue, done)))
        if errors is None:
            raise ConnectionLost(f"the connection was lost while {queue} was to be deleted; try again")
        if errors and errors[0].reply_code != PRECONDITION_FAILED:
            raise errors[0]
        return not errors

    def look(self, queue: str, on_found: OnFound, *, deadline_s: float) -> None:
        """Ask how a queue stands; see `contract.Bus.look`."""
        engine, asked = self._engine, [on_found]

        def answer(state: QueueState | None) -> None:
            if asked:
                engine.guard(asked.pop(), state)

        def ask() -> None:
            engine.call_later(deadline_s, lambda: answer(None))
            engine.declarer.look(queue, answer)

        if engine.link is None or engine.is_closed:
            answer(None)
        else:
            engine.call_soon(ask)

    def _answer_to(self, ask: Callable[[OnDeclared], None]) -> list[TopologyMismatch] | None:
        done = threading.Event()
        answers: list[list[TopologyMismatch] | None] = []

        def on_done(errors: list[TopologyMismatch] | None) -> None:
            answers.append(errors)
            done.set()

        ask(on_done)
        while not done.wait(CLOSED_CHECK_S):
            if self._engine.is_closed:
                raise ConnectionLost("the bus is closed")
        return answers[0]

    def consume(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        *,
        prefetch: int,
        longest_s: float | None = 0.0,
        every_s: float | None = None,
    ) -> Subscription:
        """Consume on a channel of its own; see `contract.Bus.consume`."""
        kind = Subscription if every_s is None else functools.partial(Pull, every_s=every_s)
        return self._engine.add_subscription(queue, on_delivery, kind, prefetch=prefetch, longest_s=longest_s)

    def consume_any(
        self, rota: Rota, on_delivery: Callable[[Delivery], None], *, longest_s: float | None = 0.0
    ) -> Subscription:
        """Take messages of many queues, one at a time; see `contract.Bus.consume_any`."""
        kind = functools.partial(ManyPull, rota=rota)
        return self._engine.add_subscription(rota.key, on_delivery, kind, prefetch=1, longest_s=longest_s)

    def consume_on_demand(
        self,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        demand: Demand,
        *,
        longest_s: float | None = 0.0,
    ) -> OnDemand:
        """Take messages only while somebody waits; see `contract.Bus.consume_on_demand`."""
        engine = self._engine
        kind = functools.partial(OnDemand, demand=demand)
        made = engine.add_subscription(queue, on_delivery, kind, prefetch=1, longest_s=longest_s)
        assert isinstance(made, OnDemand)
        return made

    def publish(
        self,
        message: Outgoing,
        on_done: Callable[[Published], None] | None = None,
        *,
        deadline_s: float = PUBLISH_DEADLINE_S,
    ) -> None:
        """Queue a message for publishing; see `contract.Bus.publish`.

        Raises:
            ValueError, TypeError: AMQP cannot carry a name or a property; nothing was queued.
        """
        method, rest = self._method_frame(message.exchange, message.routing_key), b""
        encoded = frames.enveloped(CHANNEL_NUMBER, method, message, self.user_id)
        if not encoded:
            encoded, rest = self._encoded(method, message)
        self._engine.add_publish(Pending(message, encoded, on_done, self._clock.mono_s() + deadline_s, rest))

    def _encoded(self, method: bytes, message: Outgoing) -> tuple[bytes, bytes]:
        """Return the frames of any message, and its body where that is not among them."""
        body = message.body
        encoded = method + self._header_frame(CHANNEL_NUMBER, len(body), message.properties)
        if len(body) <= frames.SURE_BODY_BYTES:
            return frames.with_body(CHANNEL_NUMBER, encoded, body), b""
        return encoded, body  # the size of frames may be another one by the time it is sent

    def health(self) -> Health:
        """Return the present state; see `contract.Bus.health`."""
        engine, link, canary = self._engine, self._engine.link, self._engine.canary
        own = canary.consumer if canary is not None else None
        wanted = [one for one in list(engine.subscriptions) if not one.is_cancelled and one is not own]
        away = link.last_error if link is not None and link.connection is None else ""
        silence = canary.reason if canary is not None else ""
        errors = [away, silence, engine.last_error, *(one.last_error for one in wanted if not one.is_active)]
        return Health(
            is_connected=link is not None and link.connection is not None,
            is_blocked=engine.publishing.is_blocked,
            reconnect_count=link.reconnect_count if link else 0,
            unconfirmed_count=engine.publisher.pending_count,
            active_consumer_count=sum(one.is_active for one in wanted),
            wanted_consumer_count=len(wanted),
            last_error=next(filter(None, errors), link.last_error if link else ""),
            deaf_reason=silence or next((_words(one) for one in wanted if not one.is_active), ""),
            lag_s=self._pulse.lag_s() if link is not None and not engine.is_closed else 0.0,
        )

    @property
    def stale_count(self) -> int:
        """How many deliveries were settled after their channel was gone."""
        return self._engine.settler.stale_count

    def close(self, *, deadline_s: float = 5.0) -> None:
        """Flush, close the connection, end the I/O thread; see `contract.Bus.close`."""
        self._engine.close(deadline_s)


class _Perch:
    """What the canary of a bus sees of it."""

    def __init__(self, bus: PikaBus, engine: Engine) -> None:
        self._engine = engine
        self.publish, self.consume = bus.publish, bus.consume
        self.declare, self.call_later = engine.declare, engine.call_later

    def progress(self) -> object:
        return self._engine.publisher.confirm_count, self.is_blocked()

    def is_blocked(self) -> bool:
        return self._engine.publishing.is_blocked

    def cut(self, reason: str) -> None:
        if self._engine.link is not None:
            self._engine.link.abort(reason)


def _words(missing: Subscription) -> str:
    return missing.last_error or f"the broker has not answered that it delivers from {missing.queue}"


def _stamped_header_frame(user: str, channel: int, size_bytes: int, properties: Properties) -> bytes:
    stamped = msgspec.structs.replace(properties, user_id=user)
    return frames.header_frame(channel, size_bytes, stamped)


def _method_frame(exchange: str, routing_key: str) -> bytes:
    return frames.publish_frame(CHANNEL_NUMBER, exchange, routing_key)

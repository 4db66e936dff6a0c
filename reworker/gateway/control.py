"""Control messages for the types that are polled here: cancel an attempt, pause and resume a type, pings.

Workers that poll cannot be told anything. So a step is answered `cancelled` only before a worker has it;
afterwards what its worker reports counts, and there is no further try. One that its worker has put off is
offered once more all the same: what the worker has begun elsewhere, only a worker can say.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from reworker import __version__
from reworker.bus.contract import (
    BindingSpec,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.errors import ConnectionLost, MessageError
from reworker.gateway.house import House
from reworker.gateway.lease import Lease
from reworker.ids import new_id
from reworker.jobs.attempt import Attempt
from reworker.jobs.senders import SenderGate
from reworker.jobs.station import Station
from reworker.messages import Control, Pong, RunningJob, WorkerOrder, decode, encode
from reworker.topology import names

#: who has asked last, and is told of the end.
ASKER_COUNT = 16
#: stands for the gateway where a worker type has its suffix.
SUFFIX = "gateway"
CONSUMING, QUIET, STOPPED = "consuming", "quiet", "stopped"
#: nobody has a step of the type, or has asked for one as lately as a marker lives: its workers have gone.
NOT_POLLED = "not polled"


class Lane(Protocol):
    """What is controlled; see `lane.Lane`."""

    queue: str
    station: Station
    gate: SenderGate | None
    is_paused: bool
    last_polled_mono_s: float

    @property
    def commands(self) -> Sequence[str]:
        """What control messages call it."""
        ...

    def look(self) -> None:
        """See what is wanted now."""
        ...


class Desk:
    """Deals with control messages, on the I/O thread.

    Args:
        house: of the gateway.
        lanes: by queue; the house's lock guards them.
    """

    def __init__(self, house: House, lanes: Mapping[str, Lane]) -> None:
        self._house, self._lanes = house, lanes
        self._askers: deque[str] = deque(maxlen=ASKER_COUNT)
        self.queue = names.control_queue(SUFFIX, new_id(house.clock.now()))
        self._deeds: dict[str, tuple[type, Callable[[Lane, Any], None]]] = {
            "cancel": (Control, self._cancel),
            "pause": (WorkerOrder, self._pause),
            "resume": (WorkerOrder, self._resume),
        }

    def open(self) -> None:
        """Begin to listen; waits for the broker.

        Raises:
            TopologyMismatch: the broker does not let us.
        """
        self._declare(names.PING_KEY)
        self._house.bus.consume(self.queue, self.on_delivery, prefetch=0)

    def listen_for(self, lane: Lane) -> None:
        """Listen to what is said to a type, too; waits for the broker."""
        self._declare(*(f"{verb}.{command}" for verb in self._deeds for command in lane.commands))

    def _declare(self, *keys: str) -> None:
        exchange = names.CONTROL_EXCHANGE
        topology = TopologySpec(
            exchanges=(ExchangeSpec(exchange),),
            queues=(QueueSpec(self.queue, durable=False, exclusive=True, auto_delete=True),),
            bindings=tuple(BindingSpec(exchange, self.queue, key) for key in keys),
        )
        try:
            self._house.bus.declare(topology)
        except ConnectionLost as error:
            self._house.logger.warning("%s", error)

    def on_delivery(self, delivery: Delivery) -> None:
        """Do what a message says; one that makes no sense is logged."""
        verb, _, command = delivery.routing_key.partition(".")
        with self._house.lock:
            lanes = [one for one in self._lanes.values() if command in one.commands]
        gate = lanes[0].gate if lanes else None
        if verb == names.PING_KEY:
            delivery.settle(Verdict.ACK)
            self._answer(delivery)
        elif gate is not None and not gate.is_welcome(delivery):
            gate.before(_nothing)(delivery)
        else:
            delivery.settle(Verdict.ACK)
            self._obey(verb, lanes, delivery)

    def _obey(self, verb: str, lanes: Sequence[Lane], delivery: Delivery) -> None:
        try:
            kind, deed = self._deeds[verb]
            order: Any = decode(kind, delivery.body, delivery.properties.content_encoding)
        except (MessageError, KeyError) as error:
            text = "the control message %s was ignored: %s"
            self._house.logger.warning(text, delivery.routing_key, error)
            return
        for lane in lanes:
            deed(lane, order)

    def _cancel(self, lane: Lane, control: Control) -> None:
        lane.station.cancellations.add(control.attempt, control.reason)
        running: Attempt | None = lane.station.open_attempts.get(control.attempt)
        if running is not None:
            text = "%s: cancelled, which its worker cannot be told: %s"
            self._house.logger.info(text, control.attempt, control.reason)
            running.cancel()

    def _pause(self, lane: Lane, order: WorkerOrder) -> None:
        self._set(lane, is_paused=True, reason=order.reason)

    def _resume(self, lane: Lane, order: WorkerOrder) -> None:
        self._set(lane, is_paused=False, reason=order.reason)

    def _set(self, lane: Lane, *, is_paused: bool, reason: str) -> None:
        word = "paused" if is_paused else "resumed"
        self._house.logger.info("%s: polls are %s: %s", lane.queue, word, reason)
        lane.is_paused = is_paused
        lane.look()

    def _answer(self, delivery: Delivery) -> None:
        reply_to = delivery.properties.reply_to
        if reply_to:
            if reply_to not in self._askers:
                self._askers.append(reply_to)
            self._tell(reply_to, delivery.properties.correlation_id)

    def say_goodbye(self) -> None:
        """Tell those who have asked lately that nobody can poll here any more. Any thread."""
        for asker in tuple(self._askers):
            self._tell(asker, None, STOPPED)

    def _tell(self, asker: str, correlation_id: str | None, state: str = "") -> None:
        with self._house.lock:
            lanes = list(self._lanes.values())
            leases: dict[
                int, list[Lease]
            ] = {}  # by lane: a thousand of each are not looked at for each other
            for lease in self._house.leases.values():
                leases.setdefault(id(lease.lane), []).append(lease)
        for lane in lanes:
            own_leases = leases.get(id(lane), [])
            properties = Properties(
                app_id=lane.station.app_id, correlation_id=correlation_id, content_type="application/json"
            )
            pong = _pong_of(lane, state or _state_of(lane, own_leases), own_leases)
            self._house.bus.publish(Outgoing("", asker, encode(pong), properties))


def _state_of(lane: Lane, leases: Sequence[Lease]) -> str:
    """Return how a type stands while its gateway runs; a worker that is busy need not poll."""
    if lane.is_paused:
        return QUIET
    silent_s = lane.station.clock.mono_s() - lane.last_polled_mono_s
    return CONSUMING if leases or silent_s <= names.POLLED_EXPIRES_S else NOT_POLLED


def _pong_of(lane: Lane, state: str, leases: Sequence[Lease]) -> Pong:
    """Return how a type stands here."""
    now_mono_s = lane.station.clock.mono_s()
    return Pong(
        worker=lane.station.app_id,
        queue=lane.queue,
        host=socket.gethostname(),
        pid=os.getpid(),
        state=state,
        version=__version__,
        running=[
            RunningJob(
                attempt=one.attempt.correlation_id or "",
                instance=one.attempt.station.worker_id,
                seconds=round(now_mono_s - one.attempt.started_mono_s, 3),
            )
            for one in leases
        ],
    )


def _nothing(_delivery: Delivery) -> None:
    return None

"""Control messages: cancel an attempt, pause and resume this worker type, answer a ping."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from reworker import __version__
from reworker.bus.contract import (
    BindingSpec,
    DeclareMode,
    Delivery,
    ExchangeSpec,
    Outgoing,
    Properties,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.bus.rota import Rota
from reworker.errors import MessageError
from reworker.ids import new_id
from reworker.jobs.station import Station
from reworker.messages import Control, Pong, RunningJob, WorkerOrder, decode, encode
from reworker.pool.instance import Instance
from reworker.pool.states import State
from reworker.topology import names

#: who has asked last, and is told of the end: some dashboards and people.
ASKER_COUNT = 16
#: first words of the routing keys that a worker type listens to.
VERBS = ("cancel", "pause", "resume")


class Controlled(Protocol):
    """What control messages ask of a pool; any thread, returns at once."""

    station: Station
    state: State

    @property
    def instances(self) -> Sequence[Instance]:
        """Its instances."""
        ...

    def quiet(self) -> None:
        """Take no new work."""
        ...

    def resume(self) -> None:
        """Take new work again."""
        ...


class ControlDesk:
    """Deals with the control messages for one pool, on the I/O thread.

    Args:
        pool: is controlled.
    """

    def __init__(self, pool: Controlled) -> None:
        self._pool = pool
        suffix = pool.station.settings.suffix
        #: where those who have asked lately wait for answers.
        self._askers: deque[str] = deque(maxlen=ASKER_COUNT)
        self.queue = f"{names.CONTROL_EXCHANGE}.{suffix}.{new_id(pool.station.clock.now())}"
        #: of single queues, for a worker of many; without the wildcard it means all of them.
        self._wide_key = pool.station.settings.queues_key.removeprefix(names.WORKER_PREFIX)
        own = (suffix, *names.commands_of(suffix), self._wide_key.removesuffix(".#"))
        self._keys = tuple(dict.fromkeys(filter(None, own)))
        self._deeds: dict[str, tuple[type, Callable[[Any], None]]] = {
            "cancel": (Control, self._cancel),
            "pause": (WorkerOrder, self._pause),
            "resume": (WorkerOrder, self._resume),
        }

    def topology(self) -> TopologySpec:
        """Return the queue to listen on; it goes with its connection.

        The exchange only for a worker that declares: to declare it again asks for the right to delete it.
        """
        is_declaring = self._pool.station.settings.declare is DeclareMode.DECLARE
        keys = (
            names.PING_KEY,
            *(f"{verb}.{key}" for verb in VERBS for key in filter(None, (*self._keys, self._wide_key))),
        )
        return TopologySpec(
            exchanges=(ExchangeSpec(names.CONTROL_EXCHANGE),) if is_declaring else (),
            queues=(QueueSpec(self.queue, durable=False, exclusive=True, auto_delete=True),),
            bindings=tuple(BindingSpec(names.CONTROL_EXCHANGE, self.queue, key) for key in keys),
        )

    def on_delivery(self, delivery: Delivery) -> None:
        """Do what a message says; one that makes no sense is logged."""
        verb = delivery.routing_key.partition(".")[0]
        if verb == names.PING_KEY:
            delivery.settle(Verdict.ACK)
            self._answer(delivery)
        elif self._pool.station.gate is None:
            self._obey(delivery)
        else:
            self._pool.station.gate.before(self._obey)(delivery)

    def _obey(self, delivery: Delivery) -> None:
        delivery.settle(Verdict.ACK)
        verb, _, key = delivery.routing_key.partition(".")
        rota = self._pool.station.rota
        try:
            kind, deed = self._deeds[verb]
            if rota is not None and kind is WorkerOrder and key not in self._keys:
                deed = partial(self._order_one, rota, verb, names.step_key(key))
            deed(decode(kind, delivery.body, delivery.properties.content_encoding))
        except (MessageError, KeyError) as error:
            text = "the control message %s was ignored: %s"
            self._pool.station.logger.warning(text, delivery.routing_key, error)

    def _cancel(self, control: Control) -> None:
        station = self._pool.station
        station.cancellations.add(control.attempt, control.reason)
        running = station.open_attempts.get(control.attempt)
        if running is not None:
            station.logger.info("%s: cancelled: %s", control.attempt, control.reason)
            running.cancel()

    def _pause(self, order: WorkerOrder) -> None:
        self._pool.station.logger.info("paused: %s", order.reason)
        self._pool.quiet()

    def _resume(self, order: WorkerOrder) -> None:
        self._pool.station.logger.info("resumed: %s", order.reason)
        self._pool.resume()

    def _order_one(self, rota: Rota, verb: str, queue: str, order: WorkerOrder) -> None:
        """Take nothing of one queue of many, or take from it again."""
        self._pool.station.logger.info("%s: %sd: %s", queue, verb, order.reason)
        (rota.pause if verb == "pause" else rota.resume)(queue)

    def _answer(self, delivery: Delivery) -> None:
        reply_to = delivery.properties.reply_to
        if reply_to:
            if reply_to not in self._askers:
                self._askers.append(reply_to)
            self._tell(reply_to, pong_of(self._pool), delivery.properties.correlation_id)

    def say_goodbye(self) -> None:
        """Tell those who have asked lately that this process ends, lest it counts as silent. Any thread."""
        last = msgspec.structs.replace(pong_of(self._pool), state=str(State.STOPPED))
        for asker in tuple(self._askers):
            self._tell(asker, last, None)

    def _tell(self, asker: str, pong: Pong, correlation_id: str | None) -> None:
        station = self._pool.station
        properties = Properties(
            app_id=station.app_id, correlation_id=correlation_id, content_type="application/json"
        )
        station.bus.publish(Outgoing("", asker, encode(pong), properties))


def pong_of(pool: Controlled) -> Pong:
    """Return how a pool stands."""
    station = pool.station
    return Pong(
        worker=station.app_id,
        queue=station.settings.queue,
        host=socket.gethostname(),
        pid=os.getpid(),
        state=str(pool.state),
        version=__version__,
        running=list(running_jobs(pool.instances)),
    )


def running_jobs(instances: Sequence[Instance]) -> list[RunningJob]:
    """Return the jobs that run now."""
    found: list[tuple[Instance, Any]] = [(one, one.station.current) for one in instances]
    return [
        RunningJob(
            attempt=attempt.correlation_id or "",
            instance=one.station.worker_id,
            seconds=round(one.station.clock.mono_s() - attempt.started_mono_s, 3),
        )
        for one, attempt in found
        if attempt is not None
    ]

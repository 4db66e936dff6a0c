"""The worker instances of one process on one connection: start, drain, stop; cancel messages; the timer."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from collections.abc import Sequence
from logging import Logger
from typing import Any, Protocol

from reworker.bus.connection import PikaBus
from reworker.bus.contract import (
    BindingSpec,
    Bus,
    DeclareMode,
    Delivery,
    ExchangeSpec,
    QueueSpec,
    TopologySpec,
    Verdict,
)
from reworker.config import MqSettings
from reworker.errors import ConnectionLost, JobCancelled, MessageError
from reworker.ids import new_id
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.station import Station
from reworker.ledger import Ledger, open_ledger
from reworker.messages import Control, Reply, decode
from reworker.pool.instance import Instance
from reworker.pool.signals import (
    SIGNAL_CHECK_S,
    StopRequest,
    StopRequested,
    leave_on_signals,
    stop_signals,
)
from reworker.pool.watch import Watch
from reworker.topology import names

#: seconds a job may take to notice its cancellation at the end of a drain.
CANCEL_GRACE_S = 2.0
#: seconds the last acknowledgements may take.
SETTLE_S = 5.0


class PoolMember(Protocol):
    """What a pool asks of a worker, besides performing."""

    app_logger: Logger
    _settings: WorkerSettings

    def _join(self, station: Station) -> None: ...


class WorkerPool:
    """All worker instances of one process.

    Duties: open the bus, declare, start an instance per worker; at a stop take no new work, let the
    running jobs end, settle, close.
    Threads: `run` belongs to its caller, on the main thread with signals; `request_stop` to any thread.
    End of life: after `stop` it cannot be started again.

    Args:
        bus: not open yet.
        workers: objects of one class, one instance each.
        ledger: of finished attempts; None opens the one that the workers' settings name.
    """

    def __init__(self, bus: Bus, workers: Sequence[Any], *, ledger: Ledger | None = None) -> None:
        self.bus = bus
        first: PoolMember = workers[0]
        self.settings = first._settings
        self._logger = first.app_logger
        self._ledger = ledger or open_ledger(self.settings.ledger)
        self._stop_request = StopRequest()
        worker_id = f"{socket.gethostname()}:{os.getpid()}"
        station = Station(
            bus=bus,
            app_id=type(first).__name__.lower(),
            worker_id=worker_id,
            logger=self._logger,
            settings=self.settings,
            ledger=self._ledger,
        )
        self.station = station
        self.instances = [
            self._instance(worker, dataclasses.replace(station, worker_id=f"{worker_id}:{number}"))
            for number, worker in enumerate(workers)
        ]
        self._watch = Watch(self.instances)

    def _instance(self, worker: PoolMember, station: Station) -> Instance:
        worker._join(station)
        return Instance(worker, station, self.bus, f"worker {station.worker_id}")

    def run(self) -> None:
        """Work until told to stop; returns after a clean stop.

        Raises:
            CannotConnect: no broker answers in time.
            TopologyMismatch: the queue exists with other arguments.
        """
        with stop_signals(self.request_stop):
            try:
                self.start()
                self._stop_request.wait()
                self._logger.info("stopping: no new work, up to %g s for what runs", self.settings.drain_s)
            except StopRequested:
                self._logger.info("stopped while looking for the broker")
            finally:
                self.stop()

    def request_stop(self) -> None:
        """Make `run` drain and return; any thread, also inside of a signal handler."""
        self._stop_request.make()

    def start(self) -> None:
        """Connect, declare and begin to consume.

        Raises:
            StopRequested: a signal came while nobody answered.
        """
        with leave_on_signals():
            self.bus.open(timeout_s=self.settings.connect_timeout_s)
        self._declare(self.settings.topology(), self.settings.declare)
        self._listen_to_control()
        self._watch.start()
        for instance in self.instances:
            instance.start()
        self._logger.info("consuming %s with %d instances", self.settings.queue, len(self.instances))

    def stop(self) -> None:
        """Take no new work, drain, settle, close."""
        for instance in self.instances:
            instance.quiet()
        clock = self.station.clock
        deadline_mono_s = clock.mono_s() + self.settings.drain_s
        for instance in self.instances:
            _join(instance.thread, deadline_mono_s - clock.mono_s())
        for instance in self.instances:
            self._abandon(instance)
        self._watch.stop()
        self._wait_for_settling()
        self.bus.close()
        self._ledger.close()

    def _abandon(self, instance: Instance) -> None:
        """Cancel a job that has not ended in time; when it does not notice, say what is true and go."""
        attempt = instance.station.current
        if attempt is None:
            return
        attempt.cancel()
        attempt.interrupt.fire(JobCancelled)
        _join(instance.thread, CANCEL_GRACE_S)
        if instance.thread.is_alive() and instance.station.current is attempt:
            text = "the worker stopped before the job ended"
            is_level_2 = attempt.headers is not None
            attempt.reply(Reply("unknown", reason=text) if is_level_2 else Reply("failed", message=text))
            attempt.finish()

    def _wait_for_settling(self) -> None:
        """Late acknowledgement waits for confirms; give them a moment."""
        done, deadline_mono_s = threading.Event(), self.station.clock.mono_s() + SETTLE_S
        while self.station.open_attempts and self.station.clock.mono_s() < deadline_mono_s:
            done.wait(0.01)

    def _declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """Declare now, or once a connection that has just been lost is back: a blink must end no worker."""
        try:
            self.bus.declare(topology, mode)
        except ConnectionLost as error:
            self._logger.warning("%s", error)

    def _listen_to_control(self) -> None:
        suffix = self.settings.suffix
        queue = f"{names.CONTROL_EXCHANGE}.{suffix}.{new_id(self.station.clock.now())}"
        keys = dict.fromkeys((suffix, *names.commands_of(suffix)))
        topology = TopologySpec(
            exchanges=(ExchangeSpec(names.CONTROL_EXCHANGE),),
            queues=(QueueSpec(queue, durable=False, exclusive=True, auto_delete=True),),
            bindings=tuple(BindingSpec(names.CONTROL_EXCHANGE, queue, f"cancel.{key}") for key in keys),
        )
        self._declare(topology)
        self.bus.consume(queue, self._on_control, prefetch=0)

    def _on_control(self, delivery: Delivery) -> None:
        """On the I/O thread."""
        delivery.settle(Verdict.ACK)
        try:
            control = decode(Control, delivery.body, delivery.properties.content_encoding)
        except MessageError as error:
            self._logger.warning("a control message was ignored: %s", error)
            return
        self.station.cancellations.add(control.attempt, control.reason)
        running = self.station.open_attempts.get(control.attempt)
        if running is not None:
            self._logger.info("%s: cancelled: %s", control.attempt, control.reason)
            running.cancel()


def open_bus(settings: MqSettings, name: str) -> Bus:
    """Return a bus to the broker of these settings, not open yet."""
    return PikaBus(settings, name=name)


def _join(thread: threading.Thread, timeout_s: float) -> None:
    """Wait for a thread in short stretches, so that a second signal is noticed: see `SIGNAL_CHECK_S`."""
    left_s = timeout_s if thread.ident is not None else 0.0
    while left_s > 0 and thread.is_alive():
        thread.join(min(left_s, SIGNAL_CHECK_S))
        left_s -= SIGNAL_CHECK_S

"""One worker instance: a thread, its consumer, and the deliveries it holds."""

from __future__ import annotations

import queue as stdlib_queue
import threading
from typing import Any

from reworker.bus.contract import Bus, Consumer, Delivery
from reworker.execution import execute
from reworker.jobs.returning import return_to_queue
from reworker.jobs.station import Station

#: a job shorter than this makes reading ahead worth while, seconds.
SHORT_JOB_S = 0.05
#: a job longer than this ends it: what waits behind the job goes to others.
LONG_JOB_S = 1.0
#: short jobs in a row before the instance reads ahead.
SHORT_COUNT = 8


class Instance:
    """Runs the deliveries of its consumer one after the other on its own thread.

    It begins with one delivery at a time. After a few short jobs it consumes again with a larger prefetch;
    a long job takes it back to one and gives what waits behind it to other instances. A prefetch of a
    running consumer cannot be changed reliably, so a new consumer takes over.

    Args:
        worker: the object that performs.
        station: where it works.
        bus: consumes.
        name: of the thread.
    """

    def __init__(self, worker: Any, station: Station, bus: Bus, name: str) -> None:
        self.worker, self.station = worker, station
        self._bus, self._settings = bus, station.settings
        self._inbox: stdlib_queue.SimpleQueue[Delivery | None] = stdlib_queue.SimpleQueue()
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._is_quiet = False
        self._short_count = 0
        self._prefetch = 1
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to consume."""
        self.thread.start()
        self._consume(1)

    def quiet(self) -> None:
        """Take no new work and give back what has not been started; any thread."""
        with self._lock:
            self._is_quiet = True
            consumer = self._consumer
        if consumer is not None:
            consumer.cancel()
        self.give_back_waiting()
        self._inbox.put(None)

    def give_back_waiting(self) -> None:
        """Give the deliveries that wait behind the running job to others; any thread."""
        while True:
            try:
                delivery = self._inbox.get_nowait()
            except stdlib_queue.Empty:
                return
            if delivery is None:
                self._inbox.put(None)  # the word to end is not ours to keep
                return
            return_to_queue(self._bus, delivery)

    def slow_down(self) -> None:
        """The running job is long: hold one delivery at a time; any thread."""
        self._short_count = 0
        if self._prefetch > 1:
            self._consume(1)
            self.give_back_waiting()

    def _consume(self, prefetch: int) -> None:
        with self._lock:
            if self._is_quiet:
                return
            old, self._prefetch = self._consumer, prefetch
            self._consumer = self._bus.consume(self._settings.queue, self._on_delivery, prefetch=prefetch)
        if old is not None:
            old.cancel()

    def _on_delivery(self, delivery: Delivery) -> None:
        """On the I/O thread."""
        with self._lock:
            if not self._is_quiet:
                self._inbox.put(delivery)
                return
        return_to_queue(self._bus, delivery)

    def _run(self) -> None:
        while (delivery := self._inbox.get()) is not None:
            begin_mono_s = self.station.clock.mono_s()
            try:
                execute(self.worker, self.station, delivery)
            except Exception:  # top of the thread: one message must not end it
                self.worker.app_logger.exception("a delivery of %s could not be dealt with", delivery.queue)
            self._set_pace(self.station.clock.mono_s() - begin_mono_s)

    def _set_pace(self, duration_s: float) -> None:
        if duration_s >= LONG_JOB_S:
            self.slow_down()
        elif duration_s >= SHORT_JOB_S:
            self._short_count = 0
        elif self._prefetch < self._settings.prefetch:
            self._short_count += 1
            if self._short_count >= SHORT_COUNT:
                self._consume(self._settings.prefetch)

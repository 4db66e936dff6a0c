"""One worker instance: a thread, its consumer, and the deliveries it holds."""

from __future__ import annotations

import contextlib
import queue as stdlib_queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reworker.bus.contract import Bus, Consumer, Delivery
from reworker.execution import execute
from reworker.jobs.adoption import is_adopted
from reworker.jobs.attempt import Attempt
from reworker.jobs.returning import return_to_queue
from reworker.jobs.station import Station

#: a job shorter than this makes reading ahead worth while, seconds.
SHORT_JOB_S = 0.05
#: a job longer than this ends it: what waits behind the job goes to others.
LONG_JOB_S = 1.0
#: short jobs in a row before the instance reads ahead.
SHORT_COUNT = 8


@dataclass(frozen=True)
class Errand:
    """Something to be done on an instance's thread, between two jobs."""

    call: Callable[[], None]


class Instance:
    """Runs the deliveries of its consumer one after the other on its own thread.

    It begins with one delivery at a time. After a few short jobs it consumes again with a larger prefetch.
    When a job turns out long, what waits behind it goes to other instances, and nothing is taken until it is
    over; then it is one at a time again. So it is after a step that may not run twice: the broker marks what
    only waits here as redelivered when the connection is lost, and nobody could tell then that it was never
    begun. A prefetch of a running consumer cannot be changed reliably, so a new consumer takes over.

    Args:
        worker: the object that performs; replaced when settings are read again.
        station: where it works.
        bus: consumes.
        name: of the thread.
        after_job: called on the thread after each job.
    """

    def __init__(
        self,
        worker: Any,
        station: Station,
        bus: Bus,
        name: str,
        after_job: Callable[[], None] = lambda: None,
    ) -> None:
        self.worker, self.station = worker, station
        self.job_count = 0
        self._bus, self._after_job = bus, after_job
        self._inbox: stdlib_queue.SimpleQueue[Delivery | Errand | None] = stdlib_queue.SimpleQueue()
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        self._latest: Consumer | None = None
        self._is_quiet = True
        self._is_held = False
        self._short_count = 0
        self._prefetch = 1
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def reconnect_count(self) -> int:
        """How often the connection was lost and came back, by which others may have got our messages."""
        return self._bus.health().reconnect_count

    def start(self, *, is_quiet: bool = False) -> None:
        """Begin to consume, or to wait for `resume`."""
        self.thread.start()
        if not is_quiet:
            self.resume()

    def resume(self) -> None:
        """Take new work; any thread. Safe twice."""
        with self._lock:
            was_quiet, self._is_quiet = self._is_quiet, False
        if was_quiet:
            self._consume(1)

    def quiet(self) -> None:
        """Take no new work and give back what has not been started; any thread. Safe twice."""
        with self._lock:
            self._is_quiet = True
            consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.cancel()
        self.give_back_waiting()

    def stop(self) -> None:
        """Take no new work and end the thread when the running job has ended; any thread."""
        self.quiet()
        self._inbox.put(None)

    def between_jobs(self, call: Callable[[], None]) -> None:
        """Have a call made on the thread before its next job; any thread, returns at once."""
        self._inbox.put(Errand(call))

    def give_back_waiting(self) -> None:
        """Give the deliveries that wait behind the running job to others; any thread."""
        kept: list[Errand | None] = []
        with contextlib.suppress(stdlib_queue.Empty):
            while True:
                item = self._inbox.get_nowait()
                if item is None or isinstance(item, Errand):
                    kept.append(item)
                else:
                    self._give_back(item)
        for one in kept:
            self._inbox.put(one)

    def slow_down(self) -> None:
        """The running job is long: others get what waits behind it, or would come to; any thread."""
        if self._prefetch > 1 or not self._inbox.empty():
            self._hold(self.station.current)

    def ack_when_due(self, age_s: float) -> None:
        """Acknowledge the running job if the broker would not wait for its end; any thread.

        Args:
            age_s: of the running job.
        """
        attempt, latest = self.station.current, self._latest
        within_s = latest.ack_within_s if latest is not None else None
        if within_s is None or age_s < within_s or not self._hold(attempt):
            return
        if attempt.ack_early():
            self.station.logger.info(
                "%s has run for %.0f s and is acknowledged, before the broker loses patience",
                attempt.correlation_id,
                age_s,
            )

    def _hold(self, attempt: Attempt | None) -> bool:
        """Take nothing until a job is over: it would lie here for as long. Tell whether the job runs."""
        with self._lock:
            was_held, self._is_held = self._is_held, True  # before the look: the thread looks afterwards
            if attempt is None or self.station.current is not attempt:  # over: nobody would end the hold
                self._is_held = was_held
                return False
            consumer, self._consumer = self._consumer, None
            self._prefetch = 1
        if consumer is not None:
            consumer.cancel()
        self.give_back_waiting()
        return True

    def _release(self) -> None:
        """Take work again when a job is over during which nothing was taken."""
        with self._lock:
            was_held, self._is_held = self._is_held, False
        if was_held:
            self._consume(1)

    def _consume(self, prefetch: int) -> None:
        with self._lock:
            if self._is_quiet or self._is_held:
                return
            old, self._prefetch = self._consumer, prefetch
            self._consumer = self._latest = self._new_consumer(prefetch)
        if old is not None:
            old.cancel()

    def _new_consumer(self, prefetch: int) -> Consumer:
        settings, gate, rota = self.station.settings, self.station.gate, self.station.rota
        on_delivery = self._on_delivery if gate is None else gate.before(self._on_delivery)
        longest_s = settings.hard_timeout_s or settings.timeout_s
        if rota is not None:
            return self._bus.consume_any(rota, on_delivery, longest_s=longest_s)
        return self._bus.consume(
            settings.queue,
            on_delivery,
            prefetch=prefetch,
            longest_s=longest_s,
            every_s=settings.polling_interval_s,
        )

    def _on_delivery(self, delivery: Delivery) -> None:
        """On the I/O thread."""
        if delivery.redelivered and is_adopted(self.station, delivery):
            return
        with self._lock:
            if not self._is_quiet and not self._is_held:
                self._inbox.put(delivery)
                return
        self._give_back(delivery)

    def _give_back(self, delivery: Delivery) -> None:
        return_to_queue(self._bus, delivery, accepted=self.station.settings.accept_from)

    def _run(self) -> None:
        while (item := self._inbox.get()) is not None:
            begin_mono_s, may_repeat = self.station.clock.mono_s(), False
            try:
                if isinstance(item, Errand):
                    item.call()
                    continue
                may_repeat = execute(self.worker, self.station, item)
                self.job_count += 1
                self._after_job()
            except Exception:  # top of the thread: one message must not end it
                self.worker.app_logger.exception("%s could not be dealt with", _words(item))
            duration_s = self.station.clock.mono_s() - begin_mono_s
            if self._is_held:
                self._release()
            self._set_pace(duration_s, may_repeat=may_repeat)

    def _set_pace(self, duration_s: float, *, may_repeat: bool) -> None:
        if duration_s >= LONG_JOB_S or not may_repeat:
            self._short_count = 0
            if self._prefetch > 1:
                self._consume(1)
                self.give_back_waiting()
        elif duration_s >= SHORT_JOB_S:
            self._short_count = 0
        elif self._prefetch < self.station.settings.most_ahead:
            self._short_count += 1
            if self._short_count >= SHORT_COUNT:
                self._consume(self.station.settings.most_ahead)


def _words(item: Delivery | Errand) -> str:
    return "an errand between two jobs" if isinstance(item, Errand) else f"a delivery of {item.queue}"

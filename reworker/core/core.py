"""The core: its parts put together on a bus and a database, started, watched and stopped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import msgspec

from reworker.bus.contract import Bus, Consumer, Delivery, Health, Published
from reworker.clock import Clock, SystemClock
from reworker.core.counters import Counters
from reworker.core.database_clock import DatabaseClock
from reworker.core.dead_letters import DeadLetters
from reworker.core.domain_choice import DomainChoice, DomainItem
from reworker.core.inbound import Intake, PublishedItem, ReplyItem
from reworker.core.jobs import JobDesk
from reworker.core.loop import Listeners, Loop
from reworker.core.publisher import Publisher
from reworker.core.recorder import Recorder
from reworker.core.release_log import ReleaseLog
from reworker.core.service import Service
from reworker.core.settings import CoreSettings
from reworker.core.tasks.code_queues import CodeQueues
from reworker.core.tasks.desk import TaskDesk
from reworker.core.tasks.task_tokens import TaskTokens
from reworker.core.upkeep import Kept, Upkeep
from reworker.errors import ConnectionLost
from reworker.storage.contract import EventRow, LogStore, OutboxRow, Storage
from reworker.topology import names

logger = logging.getLogger(__name__)

#: job requests, and lines of output, taken from the broker and not yet handled.
JOB_PREFETCH, OUTPUT_PREFETCH = 10, 500


class CoreHealth(msgspec.Struct, frozen=True):
    """State of a core at one moment.

    Args:
        bus: of the bus for steps and replies.
        output_bus: of the bus for lines of output.
        storage_error: why the database cannot be used; empty when it can.
        in_flight_count: publishes without a result.
        counters: what was counted since the start.
        is_alive: every thread runs.
    """

    bus: Health
    output_bus: Health
    storage_error: str
    in_flight_count: int
    counters: dict[str, int]
    is_alive: bool

    @property
    def is_well(self) -> bool:
        """Tell whether the core does its work at this moment."""
        return self.is_alive and not self.storage_error and self.bus.is_connected and not self.bus.is_deaf


class Core:
    """Runs deployments until `stop`. The bus and the database are opened and closed by the caller.

    Threads: one for everything that changes deployments, one each for job requests, tasks and output.

    Args:
        bus: open, for steps and replies.
        storage: the database; at most one core of the settings' name runs on it.
        logs: for lines of output.
        output_bus: another connection for lines of output, so that a flood of them holds up no reply.
    """

    def __init__(
        self,
        bus: Bus,
        storage: Storage,
        logs: LogStore,
        settings: CoreSettings | None = None,
        *,
        clock: Clock | None = None,
        output_bus: Bus | None = None,
    ) -> None:
        settings = settings or CoreSettings()
        self._settings = settings
        self._bus, self._output_bus, self._storage = bus, output_bus or bus, storage
        machine_clock, counters = clock or SystemClock(), Counters()
        clock = DatabaseClock(storage, machine_clock)
        self.counters = counters
        self._dead = DeadLetters(bus, counters, name=settings.name, clock=machine_clock)
        self._intake = Intake()
        self._publisher = self._new_publisher(clock)
        folder = settings.release_log_dir
        self.release_log = ReleaseLog(folder, storage, clock) if folder else None
        self.loop = self._new_loop(clock)
        wake = self.loop.wake
        #: requests and reads, for this process.
        self.service = Service(storage, logs, machine_clock, wake=wake, wake_tasks=self._wake_tasks)
        self._task_tokens = TaskTokens(storage, clock)
        #: starts the tasks of code packages.
        self.task_desk = self._new_task_desk(clock, wake)
        accepted = settings.accept_jobs_from
        self.jobs = JobDesk(self.service, storage, self._dead, clock, counters, wake=wake, accepted=accepted)
        output_dead = DeadLetters(self._output_bus, counters, name=settings.name, clock=machine_clock)
        self.recorder = Recorder(logs, output_dead, clock, counters, limit_bytes=settings.log_limit_bytes)
        self.upkeep = self._new_upkeep(logs, clock)
        self._consumers: list[Consumer] = []
        self._threads: list[threading.Thread] = []

    def _new_publisher(self, clock: Clock) -> Publisher:
        settings, self._domain_choice = self._settings, DomainChoice(self._bus, clock)
        return Publisher(
            self._bus,
            clock,
            settings,
            self._on_result,
            choose=self._choose_domain,
        )

    def _new_loop(self, clock: Clock) -> Loop:
        return Loop(
            self._storage,
            self._publisher,
            self._intake,
            clock,
            self.counters,
            batch_count=self._settings.batch_count,
            listeners=Listeners(self._on_events, self._wake_tasks),
        )

    def _new_task_desk(self, clock: Clock, wake: Callable[[], None]) -> TaskDesk:
        return TaskDesk(
            self._storage,
            clock,
            self.counters,
            queues=CodeQueues(self._bus, self._storage, clock, self._settings.exchange),
            wake=wake,
            firing=self.service.schedules,
            token_of=self._task_tokens.token_of,
        )

    def _on_events(self, events: Sequence[EventRow]) -> None:
        self.task_desk.note(events)
        if self.release_log is not None:
            self.release_log.note(events)

    def _wake_tasks(self) -> None:
        self.task_desk.wake()

    def _new_upkeep(self, logs: LogStore, clock: Clock) -> Upkeep:
        return Upkeep(
            self._storage,
            logs,
            clock,
            self.counters,
            name=self._settings.name,
            kept=Kept(self._settings.keep_days, self._settings.keep_audit_days),
            is_quiet=self.loop.is_quiet,
        )

    def start(self, *, takes_jobs: bool = True) -> None:
        """Take up what a former life left, then consume; returns at once, the work is done by threads.

        Args:
            takes_jobs: consume job requests too; else they stay on the broker.

        Raises:
            StorageError: another core of this name runs on the database.
            TopologyMismatch: a queue or exchange exists with other arguments.
        """
        self.attach(takes_jobs=takes_jobs)
        parts: list[tuple[str, Callable[[], None]]] = [
            ("core", self.loop.run),
            ("core jobs", self.jobs.run),
            ("core output", self.recorder.run),
            ("core upkeep", self.upkeep.run),
            ("core tasks", self.task_desk.run),
        ]
        if self.release_log is not None:
            parts.append(("core release log", self.release_log.run))
        for name, run in parts:
            self._threads.append(threading.Thread(target=run, name=name, daemon=True))
            self._threads[-1].start()

    def attach(self, *, takes_jobs: bool = True) -> None:
        """Do the part of `start` that needs no thread; tests then call the parts' `turn`."""
        self._storage.lock_core(self._settings.name)
        if self._settings.rules is not None:
            self.service.library.keep_rules(self._settings.rules)
        with self._storage.begin() as unit:
            unit.release_claims(self._settings.name)
            unit.beat(self.upkeep.instance())
            self.loop.note_clock(unit)
        self._task_tokens.prepare()
        try:
            self._bus.declare(self._settings.topology())
        except ConnectionLost as error:
            logger.warning("the broker is away, queues are declared when it is back: %s", error)
        consume = self._bus.consume
        self._consumers = [
            consume(names.REPLY_QUEUE, self._on_reply, prefetch=self._settings.prefetch),
            self._output_bus.consume(names.OUTPUT_QUEUE, self.recorder.put, prefetch=OUTPUT_PREFETCH),
        ]
        if takes_jobs:
            self._consumers.append(consume(self._settings.job_queue, self.jobs.put, prefetch=JOB_PREFETCH))

    def stop(self, *, deadline_s: float = 5.0) -> None:
        """Take nothing new, finish what was taken, end the threads. Safe twice.

        What is not finished by the deadline is delivered again, or published again, after the next start.
        """
        for consumer in self._consumers:
            consumer.cancel()
        self.jobs.stop()
        self.recorder.stop()
        self.upkeep.stop()
        self.task_desk.stop()
        self.loop.stop(deadline_s=deadline_s)
        for thread in self._threads:
            if self.release_log is not None and thread is self._threads[-1]:
                # Last of all: until the loop has ended there is more for it to write.
                self.release_log.stop()
            thread.join(deadline_s + 1)
        self._threads = []

    def health(self) -> CoreHealth:
        """Return the present state; cheap, any thread."""
        return CoreHealth(
            bus=self._bus.health(),
            output_bus=self._output_bus.health(),
            storage_error=self.loop.storage_error,
            in_flight_count=self._publisher.in_flight_count,
            counters=self.counters.snapshot(),
            is_alive=bool(self._threads) and all(thread.is_alive() for thread in self._threads),
        )

    def _on_reply(self, delivery: Delivery) -> None:
        self._intake.put(ReplyItem(delivery, self._dead, self.counters))

    def _choose_domain(self, row: OutboxRow, publish: Callable[[OutboxRow], None]) -> None:
        def on_chosen(domain: str) -> None:
            drop = self._publisher.finished
            self._intake.put(DomainItem(row, domain, self.counters, publish=publish, drop=drop))

        self._domain_choice.choose(row, on_chosen)

    def _on_result(self, row: OutboxRow, result: Published) -> None:
        self._intake.put(PublishedItem(row, result, self._publisher, self.counters))

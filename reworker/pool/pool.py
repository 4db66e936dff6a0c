"""The worker instances of one process on one connection: start, quiet, drain, stop; settings read again."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from logging import Logger
from typing import Any, Protocol

from reworker.bus.contract import Bus, DeclareMode, TopologySpec
from reworker.bus.own_name import require_own_name
from reworker.bus.rota import Rota
from reworker.clock import SystemClock
from reworker.config import MqSettings
from reworker.errors import ConnectionLost, JobCancelled
from reworker.ids import new_id
from reworker.jobs.attempt import Attempt
from reworker.jobs.prints import captured_streams
from reworker.jobs.senders import SenderGate
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.station import Station
from reworker.jobs.tally import JobTally
from reworker.ledger import Ledger
from reworker.pool.bells import PREFETCH as BELLS_PREFETCH
from reworker.pool.bells import Bells
from reworker.pool.children import children_of_thread, end_trees
from reworker.pool.control import ControlDesk
from reworker.pool.deadman import Deadman
from reworker.pool.ending import end_process, last_word, leave_process, left_behind, wait_until_settled
from reworker.pool.instance import Instance
from reworker.pool.recycling import Share
from reworker.pool.reloading import News, Renewable, redactor_of
from reworker.pool.signals import SIGNAL_CHECK_S, Order, Orders, StopRequested, leave_on_signals, stop_signals
from reworker.pool.stacks import log_stacks
from reworker.pool.states import REPLACE_EXIT_CODE, State
from reworker.pool.surroundings import Folder, SignalKeeper, restore_streams
from reworker.pool.watch import Watch
from reworker.topology import names
from reworker.tracing import step_tracer

#: seconds a job may take to notice its cancellation at the end of a drain.
CANCEL_GRACE_S = 2.0
#: seconds the last acknowledgements may take.
SETTLE_S = 5.0
#: seconds that the reply of a job may take which ends its process, and the goodbye to the broker.
END_SETTLE_S, END_CLOSE_S = 3.0, 2.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class PoolMember(Protocol):
    """What a pool asks of a worker, besides performing."""

    app_logger: Logger
    _settings: WorkerSettings

    def _join(self, station: Station) -> None: ...
    def known_queues(self) -> Iterable[str]:
        """Name queues that may have messages; see `Worker.known_queues`."""
        ...


class WorkerPool:
    """All worker instances of one process.

    Duties: open the bus, declare, start an instance per worker; at a stop take no new work, let the
    running jobs end, settle, close. Where it has the process to itself (`run` on the main thread), it obeys
    the process's signals and ends the process with a job that does not end.
    Threads: `run` belongs to its caller, on the main thread with signals; `request_stop`, `quiet` and
    `resume` to any thread.
    End of life: after `stop` it cannot be started again.

    Args:
        bus: not open yet.
        workers: objects of one class, one instance each.
        ledger: of finished attempts; None opens the one that the workers' settings name.
        read_mq: reads the settings of the message bus again; None leaves them as they are.
    """

    def __init__(
        self,
        bus: Bus,
        workers: Sequence[Any],
        *,
        ledger: Ledger | None = None,
        read_mq: Callable[[], MqSettings] | None = None,
    ) -> None:
        self.bus = bus
        first: PoolMember = workers[0]
        self.settings = first._settings
        #: where it stands; see `states`.
        self.state = State.STARTING
        #: of the process, after `run`.
        self.exit_code = 0
        #: called with True before the settings are read again, and with False afterwards.
        self.on_reload: Callable[[bool], None] = lambda is_begun: None
        self._logger = first.app_logger
        self._ledger = ledger or self.settings.open_ledger()
        self._read_mq = read_mq
        self._orders, self._lock = Orders(), threading.Lock()
        self._owns_process = False
        self._stack = contextlib.ExitStack()
        self.station = self._station(type(first).__name__.lower())
        if self.settings.accept_from:
            bus.stamp()
            self.station.gate = SenderGate(self.station, bus)
        self._bells = self._new_bells()
        self.instances = [self._instance(worker, number) for number, worker in enumerate(workers)]
        self._share = Share(self.instances)
        self._deadman = Deadman(self.station.clock)
        self._watch = Watch(self.instances, self._on_overrun, [self._expect_end])
        self._desk = ControlDesk(self)

    def _station(self, app_id: str) -> Station:
        return Station(
            bus=self.bus,
            app_id=app_id,
            worker_id=f"{socket.gethostname()}:{os.getpid()}",
            logger=self._logger,
            settings=self.settings,
            ledger=self._ledger,
            tracer=step_tracer(),
            redact=redactor_of(self.settings),
        )

    def _instance(self, worker: PoolMember, number: int) -> Instance:
        worker_id = f"{self.station.worker_id}:{number}"
        station = dataclasses.replace(self.station, worker_id=worker_id, tally=JobTally())
        worker._join(station)
        after_job = partial(self._after_job, Folder(self._logger))
        return Instance(worker, station, self.bus, f"worker {worker_id}", after_job)

    def _new_bells(self) -> Bells | None:
        if not self.settings.queues_key:
            return None
        self.station.rota = Rota(self.settings.queues_key)
        return Bells(self.station, self.station.rota, lambda: self.instances[0].worker.known_queues())

    def run(self) -> None:
        """Work until told to stop; returns after a clean stop, see `exit_code`.

        Raises:
            CannotConnect: no broker answers in time.
            TopologyMismatch: the queue exists with other arguments.
        """
        self._owns_process = threading.current_thread() is threading.main_thread()
        orders = {
            signal.SIGHUP: Order.RELOAD,
            signal.SIGUSR1: Order.SHOW_STACKS,
            signal.SIGUSR2: Order.QUIET,
        }
        calls = {number: _giving(self._orders, order) for number, order in orders.items()}
        with stop_signals(self.request_stop, leave=self._leave, others=calls):
            try:
                self.start()
                if self._owns_process:
                    gc.freeze()  # what a worker is made of stays: a look for garbage need not go through it
                self._serve()
                self._logger.info("stopping: no new work, up to %g s for what runs", self.settings.drain_s)
            except StopRequested:
                self._logger.info("stopped while looking for the broker")
            finally:
                self.stop()

    def request_stop(self) -> None:
        """Make `run` drain and return; any thread, also inside of a signal handler."""
        self._orders.give(Order.STOP)

    def start(self) -> None:
        """Connect, declare and begin to consume.

        Raises:
            StopRequested: a signal came while nobody answered.
        """
        with leave_on_signals():
            self.bus.open(timeout_s=self.settings.connect_timeout_s)
        require_own_name(self.bus)
        self._declare(self.settings.topology(), self.settings.declare)
        self._declare(self._desk.topology())
        self.bus.consume(self._desk.queue, self._desk.on_delivery, prefetch=0)
        if self._bells is not None:
            self._declare(self._bells.topology())
            self.bus.consume(self._bells.queue, self._bells.on_delivery, prefetch=BELLS_PREFETCH)
            self._bells.start()
        if self.settings.capture_stdout:
            self._stack.enter_context(captured_streams())
        self._watch.start()
        for instance in self.instances:
            instance.start(is_quiet=self.settings.paused)
        self._enter(State.QUIET if self.settings.paused else State.CONSUMING)
        word = "paused before" if self.settings.paused else "consuming"
        queue = self.settings.queues_key or self.settings.queue
        self._logger.info("%s %s with %d instances", word, queue, len(self.instances))

    def quiet(self) -> None:
        """Take no new work, give back what has not been started, let what runs go on."""
        if self._enter(State.QUIET, State.CONSUMING):
            for instance in self.instances:
                instance.quiet()

    def resume(self) -> None:
        """Take new work again after `quiet`."""
        if self._enter(State.CONSUMING, State.QUIET):
            for instance in self.instances:
                instance.resume()

    def reload(self) -> None:
        """Read the settings again; each instance takes them over before its next job. What is wrong stays."""
        try:
            news = News(self.instances, self.settings, self._read_mq)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plugin's constructor; it must end nobody
            self._logger.error("the settings were not read again, the old ones stay: %s", error)
            return
        if news.waiting:
            self._logger.warning("new values count after a restart: %s", ", ".join(news.waiting))
        self.settings = self.station.settings = news.settings
        news.apply()
        if news.mq is not None and isinstance(self.bus, Renewable):
            self.bus.renew(news.mq)
        self._logger.info(
            "settings read again; changed: %s", ", ".join(news.changed) or "none of the library's"
        )

    def stop(self) -> None:
        """Take no new work, drain, settle, close. Safe twice."""
        if not self._enter(State.DRAINING, State.STARTING, State.CONSUMING, State.QUIET):
            return
        for instance in self.instances:
            instance.stop()
        self._join_all(self.settings.drain_s)
        self._abandon([one for one in self.instances if one.thread.is_alive()])
        self._watch.stop()
        if self._bells is not None:
            self._bells.stop()
        self._deadman.close()
        self._desk.say_goodbye()
        self._settle(SETTLE_S)
        self.bus.close()
        self._ledger.close()
        self._stack.close()
        self._enter(State.STOPPED)

    def _serve(self) -> None:
        keeper = SignalKeeper(STOP_SIGNALS, self._logger) if self._owns_process else None
        while (order := self._orders.next()) is not Order.STOP:
            if order is not None:
                self._obey(order)
            elif keeper is not None:
                keeper.restore()

    def _obey(self, order: Order) -> None:
        deeds: dict[Order, Callable[[], None]] = {
            Order.QUIET: self.quiet,
            Order.RELOAD: self._reload_and_tell,
            Order.SHOW_STACKS: self._show_stacks,
        }
        deeds[order]()

    def _reload_and_tell(self) -> None:
        self.on_reload(True)
        self.reload()
        self.on_reload(False)

    def _show_stacks(self) -> None:
        log_stacks(self._logger, self.instances, f"stacks of all threads; {self.state}")

    def _enter(self, state: State, *before: State) -> bool:
        """Go to a state; only from one of those before, when some are named. Tell whether it was done."""
        with self._lock:
            if before and self.state not in before:
                return False
            self.state = state
        self._logger.info("state: %s", state)
        return True

    def _join_all(self, limit_s: float) -> None:
        """Wait for the threads in short stretches, to notice a second signal: see `SIGNAL_CHECK_S`."""
        clock = self.station.clock
        deadline_mono_s = clock.mono_s() + limit_s
        for thread in [one.thread for one in self.instances if one.thread.ident is not None]:
            while thread.is_alive() and (left_s := deadline_mono_s - clock.mono_s()) > 0:
                thread.join(min(left_s, SIGNAL_CHECK_S))
                if self._orders.next(0) is Order.SHOW_STACKS:
                    self._show_stacks()

    def _abandon(self, instances: Sequence[Instance]) -> None:
        """Cancel jobs that have not ended in time; of one that does not notice, say what is true and go."""
        attempts: list[tuple[Instance, Attempt]] = [
            (one, attempt) for one in instances if (attempt := one.station.current) is not None
        ]
        for _, attempt in attempts:
            attempt.cancel()
            attempt.interrupt.fire(JobCancelled)
        if attempts:
            self._logger.warning("the drain is over; cancelled: %s", left_behind(instances))
            self._join_all(CANCEL_GRACE_S)
        for instance, attempt in attempts:
            if instance.station.current is attempt:
                end_trees(children_of_thread(instance.thread.native_id), signal.SIGKILL)
                last_word(instance.worker, attempt, "the worker stopped before the job ended")

    def _settle(self, limit_s: float) -> None:
        station = self.station
        wait_until_settled(lambda: bool(station.open_attempts), station.clock.mono_s, limit_s)

    def _after_job(self, folder: Folder) -> None:
        """On an instance's thread."""
        folder.restore()
        restore_streams(self._logger)
        excess = self._share.excess(self.settings) if self._owns_process else ""
        if excess and self.state in (State.CONSUMING, State.QUIET) and not self.exit_code:
            self.exit_code = REPLACE_EXIT_CODE
            self._logger.info("%s: this process ends, to be replaced", excess)
            self.quiet()
            self.request_stop()

    def _on_overrun(self, instance: Instance, attempt: Attempt) -> None:
        """Deal with a job that has not ended at its hard limit; on the watch's thread."""
        age_s = self.station.clock.mono_s() - attempt.started_mono_s
        text = f"did not end when its time was up, and was given up after {age_s:.0f} s"
        log_stacks(self._logger, self.instances, f"{attempt.correlation_id} {text}")
        if self._owns_process:
            end_process(self._logger, instance.worker, attempt, text, lambda: self._leave_broker(attempt))
        self._logger.error("%s is lost with it: others in this process go on", instance.thread.name)
        last_word(instance.worker, attempt, text)

    def _leave_broker(self, attempt: Attempt) -> None:
        for instance in self.instances:
            instance.quiet()
        is_open = lambda: self.station.open_attempts.get(attempt.key) is attempt  # noqa: E731  one line says it
        wait_until_settled(is_open, self.station.clock.mono_s, END_SETTLE_S)
        self.bus.close(deadline_s=END_CLOSE_S)
        self._ledger.close()

    def _expect_end(self) -> None:
        """Arm what ends the process when the watch cannot; on the watch's thread."""
        if self._owns_process:
            self._deadman.expect(self._watch.next_hard_limit_mono_s())

    def _leave(self) -> None:
        leave_process(self._logger, self.instances)

    def _declare(self, topology: TopologySpec, mode: DeclareMode = DeclareMode.DECLARE) -> None:
        """Declare now, or once a connection that has just been lost is back: a blink must end no worker."""
        try:
            self.bus.declare(topology, mode)
        except ConnectionLost as error:
            self._logger.warning("%s", error)


def open_bus(settings: MqSettings, name: str, suffix: str) -> Bus:
    """Return a bus to the broker of these settings, not open yet.

    Args:
        settings: of the message bus.
        name: of the connection, as the broker shows it.
        suffix: of the worker's control queues; the bus sends itself messages by one more of that kind.
    """
    # They load pika, which takes as long as everything else of a worker: asking one for its steps needs none.
    from reworker.bus.canary import canary_of
    from reworker.bus.connection import PikaBus

    queue = names.control_queue(suffix, new_id(SystemClock().now()))
    return PikaBus(settings, name=name, canary=canary_of(settings, queue))


def _giving(orders: Orders, order: Order) -> Callable[[], None]:
    return lambda: orders.give(order)

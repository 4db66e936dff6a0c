"""`WorkerHost` and `TaskHandler`: a program's workers in Conductor's style, run by reworker's host."""

from __future__ import annotations

import atexit
import enum
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from reworker.conductor.adapter import Adapter, adapter_of, is_paused
from reworker.conductor.addresses import Configuration, MetricsSettings
from reworker.conductor.functions import decorated_workers, workers_in
from reworker.conductor.pausing import PauseWatch, may_pause
from reworker.errors import ConfigError
from reworker.host.crew import Entry
from reworker.host.host import WorkerHost as Daemon
from reworker.jobs.sources import INI_NAME, Given, ini_path
from reworker.logs import Redactor, setup
from reworker.worker import Worker as BusWorker

logger = logging.getLogger("reworker.conductor")

#: exit code of a process that SIGTERM ends before it waits for its workers. Source: the shell's convention.
SIGTERM_EXIT_CODE = 128 + signal.SIGTERM
#: options of the SDKs about starting processes again.
SUPERVISION_OPTIONS = frozenset(
    {
        "monitor_processes",
        "restart_on_failure",
        "monitor_interval_seconds",
        "restart_backoff_seconds",
        "restart_backoff_max_seconds",
        "restart_max_attempts",
    }
)


class State(enum.Enum):
    """Where a host stands."""

    MADE = enum.auto()
    STARTED = enum.auto()
    #: for the end of its workers.
    WAITING = enum.auto()
    OVER = enum.auto()


class WorkerHost:
    """Runs workers in Conductor's style: a process for each type, supervised, until told to stop.

    ``with WorkerHost(workers, configuration) as host: host.start_processes()`` waits at the end of the block
    for SIGTERM or Ctrl-C, and drains then. So does `join_processes`; `stop_processes` drains at once. A
    program that ends without either waits as at the end of a block.
    Threads: belongs to one, the main thread with signals; `stop_processes` to any.
    End of life: when it has waited or was stopped; make another one then.

    Args:
        workers: objects with `execute`, or functions with `worker_task`; one or a list.
        configuration: where the message bus is; None is `Configuration()`.
        metrics_settings: its `http_port` tells metrics and health of all.
        event_listeners: see `events.Listeners`.

    Raises:
        ConfigError: there is no worker, or a setting is wrong.
    """

    def __init__(
        self,
        workers: Any = None,
        configuration: Configuration | None = None,
        metrics_settings: MetricsSettings | None = None,
        event_listeners: Sequence[Any] | None = None,
    ) -> None:
        self._configuration = configuration or Configuration()
        self._owns_log = not logging.getLogger().handlers
        self._configuration.apply_logging_config()
        self._configuration.explain()
        port = metrics_settings.http_port if metrics_settings is not None else None
        kinds = _kinds_of(_listed(workers), event_listeners or ())
        ini = _ini_beside_program()
        self._daemon = Daemon(
            [Entry(kind, given=Given(ini)) for kind in kinds],
            self._configuration.mq_source,
            ini=ini,
            health="" if port is None else str(port),
            prepare=self._prepare,
        )
        self._state, self._is_stopping = State.MADE, False

    def start_processes(self) -> None:
        """Start the workers, once.

        Raises:
            ConfigError: nobody can listen at the port for metrics, or it was stopped before.
        """
        if self._state is State.OVER:
            raise ConfigError("this host was stopped; make another one to start its workers again")
        if self._state is not State.MADE:
            return
        self._daemon.start_processes()
        self._state = State.STARTED
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._leave)
        atexit.register(self._wait_at_exit)

    def join_processes(self) -> None:
        """Wait until told to stop by SIGTERM, Ctrl-C or `stop_processes`; then drain."""
        if self._state is not State.STARTED:
            return
        self._state = State.WAITING
        try:
            self._daemon.run()
        finally:
            self._end()

    def stop_processes(self) -> None:
        """Take no new tasks, let those that run end, and return then; while another thread waits, at once."""
        self._request_stop()
        if self._state is State.MADE:
            self._end()
        self.join_processes()

    def is_healthy(self) -> bool:
        """Tell whether all workers take tasks."""
        return self._state in (State.STARTED, State.WAITING) and self._daemon._children.report().is_ready

    def get_worker_process_status(self) -> list[dict[str, Any]]:
        """Return how each process stands: ``{"worker", "pid", "alive", "restart_count"}``."""
        return [
            {
                "worker": one.name,
                "pid": one.pid or None,
                "alive": bool(one.pid),
                "restart_count": one.failed_count,
            }
            for one in self._daemon._supervisor._work
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait until told to stop; an error in the block stops the workers."""
        if self._state is State.MADE:
            logger.warning("nothing was run: start_processes() was not called in the block")
        if kind is not None:
            self._request_stop()
        self.join_processes()

    def _prepare(self, worker: BusWorker) -> None:
        """In each process."""
        if self._owns_log:
            settings = worker._settings
            redactor = Redactor([str(worker._mq_settings().current_password())], settings.redactions)
            level = logging.getLevelName(logging.getLogger().level)
            setup(level, is_json=settings.log_format == "json", redactor=redactor)
            logging.getLogger("pika").setLevel(logging.WARNING)
        if isinstance(worker, Adapter) and may_pause(worker.style):
            PauseWatch(worker, is_paused(worker.style)).start()

    def _leave(self, *_: object) -> None:
        """Of SIGTERM while the program does something else: unwind it, and drain on the way."""
        self._request_stop()
        raise SystemExit(SIGTERM_EXIT_CODE)

    def _wait_at_exit(self) -> None:
        if hasattr(sys, "last_value"):  # the program ended by an error
            self._request_stop()
        self.join_processes()

    def _request_stop(self) -> None:
        """Once: a second word would end the drain."""
        if not self._is_stopping:
            self._is_stopping = True
            self._daemon.request_stop()

    def _end(self) -> None:
        self._state = State.OVER
        atexit.unregister(self._wait_at_exit)
        if _is_main_thread() and signal.getsignal(signal.SIGTERM) == self._leave:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


class ScanningHost(WorkerHost):
    """Runs also the functions with `worker_task` that stand in imported modules; the SDKs' `TaskHandler`.

    Args:
        workers: see `WorkerHost`.
        configuration: see `WorkerHost`.
        metrics_settings: see `WorkerHost`.
        scan_for_annotated_workers: False runs `workers` alone.
        import_modules: to be imported first, for the functions in them.
        event_listeners: see `WorkerHost`.
        supervision: options of the SDKs for starting processes again, which the host always does; not used.

    Raises:
        ConfigError: see `WorkerHost`.
        TypeError: there is no such option.
    """

    def __init__(
        self,
        workers: Any = None,
        configuration: Configuration | None = None,
        metrics_settings: MetricsSettings | None = None,
        scan_for_annotated_workers: bool = True,
        import_modules: Iterable[str] | None = None,
        event_listeners: Sequence[Any] | None = None,
        **supervision: Any,
    ) -> None:
        unknown = sorted(set(supervision) - SUPERVISION_OPTIONS)
        if unknown:
            raise TypeError(f"TaskHandler: unknown option {', '.join(unknown)}")
        for name in import_modules or ():
            import_module(name)
        found = _listed(workers)
        if scan_for_annotated_workers:
            own = {id(worker) for one in found for worker in workers_in(one)}
            found += [one for one in decorated_workers() if id(one) not in own]
        super().__init__(found, configuration, metrics_settings, event_listeners)


#: what conductor-python calls it.
TaskHandler = ScanningHost


def _listed(workers: Any) -> list[Any]:
    if workers is None:
        return []
    return list(workers) if isinstance(workers, list | tuple) else [workers]


def _kinds_of(workers: Iterable[Any], listeners: Sequence[Any]) -> list[type[Adapter]]:
    """Return the classes by which workers are run, one for each of their types.

    Raises:
        ConfigError: one is no worker.
    """
    found: list[type[Adapter]] = []
    for one in workers:
        meant = workers_in(one)
        if not meant:
            reason = (
                f"expected an object with execute(task), or a function with worker_task; found {one!r:.80}"
            )
            raise ConfigError(reason, key="workers")
        found += [
            adapter_of(worker, name, listeners) for worker in meant for name in worker.task_definition_names
        ]
    return found


def _ini_beside_program() -> str:
    """Return the file worker.ini beside the program; empty when another one is nearer, or there is none."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if program is None or ini_path(Given(), os.environ):
        return ""
    beside = Path(program).absolute().with_name(INI_NAME)
    return str(beside) if beside.is_file() else ""


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

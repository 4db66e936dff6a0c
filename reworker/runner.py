"""``runner(YourWorker)``: from the command line to a running worker, and to an exit code.

::

    python myworker.py MQ_CONFIG [-w WORKER_CONFIG] [--instances N] [--processes N] [--health ADDRESS]
                       [--log-level LEVEL] [--log-format text|json]
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from reworker.clock import SystemClock
from reworker.config import MQ_VARIABLE, mq_mapping, mq_settings
from reworker.drill.faults import Fuse, faulty_bus, faulty_ledger, faulty_worker, fuse_of
from reworker.errors import BusError, CannotConnect, ConfigError
from reworker.host.health import Report, combined
from reworker.host.making import made
from reworker.host.probes import PoolProbe
from reworker.host.serving import serve, show_crashes
from reworker.host.vigil import watched
from reworker.jobs.settings import WorkerSettings
from reworker.jobs.sources import strange_variables
from reworker.logs import Redactor, escaped, setup
from reworker.pool.pool import WorkerPool, open_bus

#: exit codes, as every command of ours.
CONFIG_EXIT_CODE = 2
CONNECT_EXIT_CODE = 3
BUS_EXIT_CODE = 1
#: seconds for threads that jobs have started, at the end of the process.
THREADS_S = 2.0
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def runner(worker_cls: Any) -> None:
    """Run a worker class until it is told to stop; arguments are those of the process.

    Returns after a clean stop.

    Raises:
        SystemExit: 2 for wrong settings, 3 when no broker answers, 1 when the bus fails otherwise, 75 when
            the process wants to be replaced.
    """
    arguments = _parse(sys.argv[1:])
    run_worker(
        worker_cls,
        arguments.mq,
        arguments.worker_config,
        Chosen(
            arguments.instances,
            arguments.processes,
            arguments.health,
            arguments.log_level,
            "json" if arguments.json_logs else arguments.log_format,
        ),
    )


class Chosen(NamedTuple):
    """What the command line says; None leaves it to the worker's settings.

    Args:
        instances: threads of a process.
        processes: how many.
        health: where health and metrics are told.
        log_level: lowest level shown.
        log_format: text or json.
    """

    instances: int | None = None
    processes: int | None = None
    health: str | None = None
    log_level: str = "INFO"
    log_format: str | None = None


def run_worker(worker_cls: Any, mq: str | None, config_file: str | None, chosen: Chosen) -> None:
    """Do what `runner` does, with its arguments given; see there.

    Args:
        worker_cls: subclass of `Worker`.
        mq: file or URL; None is the variable ``REWORKER_MQ``.
        config_file: the worker's own settings.
        chosen: what else the command line says.
    """
    setup(chosen.log_level, is_json=chosen.log_format == "json")
    show_crashes()
    before = threading.enumerate()
    code = _ended(partial(_run, worker_cls, mq, config_file, chosen))
    _leave_threads(before, code)
    if code:
        raise SystemExit(code)


def _ended(run: Callable[[], int]) -> int:
    """Run something and return its exit code; its errors end the process with theirs."""
    try:
        return run()
    except ConfigError as error:
        _leave(error, CONFIG_EXIT_CODE)
    except CannotConnect as error:
        _leave(error, CONNECT_EXIT_CODE)
    except BusError as error:
        _leave(error, BUS_EXIT_CODE)


def _run(
    worker_cls: Any, mq: str | None, config_file: str | None, chosen: Chosen, report_to: int | None = None
) -> int:
    """Run until told to stop; return the exit code. `report_to` is the pipe of one process of several."""
    mapping = mq_mapping(mq, os.environ)
    fuse = fuse_of("worker", os.environ)
    make = partial(faulty_worker(worker_cls, fuse), mapping, config_file=config_file)
    worker = made(make)
    worker._read_mq = partial(mq_settings, mq, os.environ)
    settings = getattr(worker, "_settings", None)
    if not isinstance(settings, WorkerSettings) or worker._is_driven():
        worker.run_forever()
        return 0
    _set_up_log(worker, chosen)
    if report_to is None:
        _tell_slips(worker)
    address = settings.health if chosen.health is None else chosen.health
    count = chosen.processes or settings.processes
    if count > 1 and report_to is None:
        from reworker.host.processes import Group, ProcessHost  # most workers start faster without

        one = partial(_run, worker_cls, mq, config_file, chosen)
        group = Group(lambda pipe: _ended(partial(one, pipe)), count, settings.drain_s, make)
        return ProcessHost({settings.short_name: group}, health=address).run()
    pool = _pool_of([worker, *(make() for _ in range((chosen.instances or settings.instances) - 1))], fuse)
    is_alone = len(pool.instances) == 1 and fuse is None
    if report_to is None:
        return _serve(worker, pool, address, is_alone=is_alone)
    from reworker.host.wire import teller_to  # as above

    return _serve(worker, pool, "", [teller_to(report_to)], is_alone=is_alone)


def _serve(
    worker: Any,
    pool: WorkerPool,
    address: str,
    tellers: Sequence[Callable[[Report], None]] = (),
    *,
    is_alone: bool,
) -> int:
    probe = combined([PoolProbe(pool)], f"worker {pool.settings.suffix}")
    with watched(probe, address, environ=os.environ, tellers=tellers) as announcer:
        if announcer is not None:
            pool.on_reload = announcer.on_reload
        return serve(worker, pool, is_alone=is_alone)


def _set_up_log(worker: Any, chosen: Chosen) -> None:
    """Set the log up again, with what the worker's settings say of it."""
    settings: WorkerSettings = worker._settings
    redactor = Redactor([str(worker._read_mq().current_password())], settings.redactions)
    setup(chosen.log_level, is_json=(chosen.log_format or settings.log_format) == "json", redactor=redactor)


def _tell_slips(worker: Any) -> None:
    """Tell once, not for each instance and process, what stands in variables in vain."""
    for text in strange_variables(os.environ):
        worker.app_logger.warning(text)


def _pool_of(workers: Sequence[Any], fuse: Fuse | None) -> WorkerPool:
    first = workers[0]
    bus = faulty_bus(open_bus(first._read_mq(), first._queue, first._settings.suffix), fuse)
    ledger = faulty_ledger(first._settings.open_ledger(), fuse)
    return WorkerPool(bus, workers, ledger=ledger, read_mq=first._read_mq)


def _is_waited_for(thread: threading.Thread) -> bool:
    """Tell whether the interpreter waits for a thread at its end: of executors, it does for daemons too."""
    executors = sys.modules.get("concurrent.futures.thread")
    return not thread.daemon or thread in getattr(executors, "_threads_queues", ())


def _leave_threads(before: Sequence[threading.Thread], code: int) -> None:
    """End the process in spite of threads that jobs have left: Python would wait for them for ever."""
    clock = SystemClock()
    deadline_mono_s = clock.mono_s() + THREADS_S
    new = [one for one in threading.enumerate() if one not in before and _is_waited_for(one)]
    for thread in new:
        thread.join(max(deadline_mono_s - clock.mono_s(), 0.0))
    left = [one.name for one in new if one.is_alive()]
    if left:
        logging.getLogger(__name__).warning("jobs have left threads, they end now: %s", ", ".join(left))
        logging.shutdown()
        os._exit(code)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a worker until SIGTERM or SIGINT.")
    parser.add_argument(
        "mq", nargs="?", metavar="MQ_CONFIG", help=f"file or amqp:// URL; default ${MQ_VARIABLE}"
    )
    parser.add_argument(
        "-w", "--worker-config", metavar="FILE", help="JSON or YAML file of the worker's own settings"
    )
    parser.add_argument(
        "--instances", type=_count, metavar="N", help="threads, each with a worker object of its own"
    )
    parser.add_argument("--processes", type=_count, metavar="N", help="processes with so many instances each")
    parser.add_argument(
        "--health", metavar="ADDRESS", help="PORT or HOST:PORT that tells health and metrics; 0: a free port"
    )
    parser.add_argument("--log-level", default="INFO", choices=LEVELS)
    parser.add_argument("--log-format", choices=("text", "json"))
    parser.add_argument("--json-logs", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return count


def _leave(error: Exception, code: int) -> NoReturn:
    sys.stderr.write(escaped(f"reworker: {error}") + "\n")
    raise SystemExit(code) from error

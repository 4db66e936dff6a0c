"""``runner(YourWorker)``: from the command line to a running worker, and to an exit code.

::

    python myworker.py MQ_CONFIG [-w WORKER_CONFIG] [--instances N] [--health ADDRESS]
                       [--log-level LEVEL] [--log-format text|json]
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from reworker.clock import SystemClock
from reworker.config import MQ_VARIABLE, MqSettings, load_mapping, mq_settings
from reworker.drill.faults import Fuse, faulty_bus, faulty_ledger, faulty_worker, fuse_of
from reworker.errors import BusError, CannotConnect, ConfigError
from reworker.host.health import combined
from reworker.host.probes import PoolProbe
from reworker.host.vigil import watched
from reworker.jobs.settings import WorkerSettings
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
        instances=arguments.instances,
        health=arguments.health,
        log_level=arguments.log_level,
        log_format="json" if arguments.json_logs else arguments.log_format,
    )


def run_worker(
    worker_cls: Any,
    mq: str | None,
    config_file: str | None,
    *,
    instances: int | None = None,
    health: str | None = None,
    log_level: str = "INFO",
    log_format: str | None = None,
) -> None:
    """Do what `runner` does, with its arguments given; see there.

    Args:
        worker_cls: subclass of `Worker`.
        mq: file or URL; None is the variable ``REWORKER_MQ``.
        config_file: the worker's own settings.
        instances: threads; None is what the worker's settings say.
        health: where health and metrics are told; None is what the worker's settings say.
        log_level: lowest level shown.
        log_format: text or json; None is what the worker's settings say.
    """
    setup(log_level, is_json=log_format == "json")
    _show_crashes()
    before = threading.enumerate()
    try:
        code = _run(worker_cls, mq, config_file, Chosen(instances, health, log_level, log_format))
    except ConfigError as error:
        _leave(error, CONFIG_EXIT_CODE)
    except CannotConnect as error:
        _leave(error, CONNECT_EXIT_CODE)
    except BusError as error:
        _leave(error, BUS_EXIT_CODE)
    else:
        _leave_threads(before, code)
        if code:
            raise SystemExit(code)


class Chosen(NamedTuple):
    """What the command line says; None leaves it to the worker's settings."""

    instances: int | None
    health: str | None
    log_level: str
    log_format: str | None


def _run(worker_cls: Any, mq: str | None, config_file: str | None, chosen: Chosen) -> int:
    """Run until told to stop; return the exit code."""
    mapping = mq_mapping(mq, os.environ)
    fuse = fuse_of("worker", os.environ)
    make = partial(faulty_worker(worker_cls, fuse), mapping, config_file=config_file)
    worker = make()
    worker._read_mq = partial(mq_settings, mq, os.environ)
    settings = getattr(worker, "_settings", None)
    if not isinstance(settings, WorkerSettings) or worker._is_driven():
        worker.run_forever()
        return 0
    _set_up_log(worker, chosen)
    pool = _pool_of([worker, *(make() for _ in range((chosen.instances or settings.instances) - 1))], fuse)
    address = settings.health if chosen.health is None else chosen.health
    probe = combined([PoolProbe(pool)], f"worker {settings.suffix}")
    with watched(probe, address, environ=os.environ) as announcer:
        if announcer is not None:
            pool.on_reload = announcer.on_reload
        return _work(worker, pool, is_alone=len(pool.instances) == 1 and fuse is None)


def _work(worker: Any, pool: WorkerPool, *, is_alone: bool) -> int:
    """Run the pool, by the worker itself when it is alone: it may add to that. Return the exit code."""
    if not is_alone:
        pool.run()
        return pool.exit_code
    worker._pool = pool
    try:
        worker.run_forever()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _set_up_log(worker: Any, chosen: Chosen) -> None:
    """Set the log up again, with what the worker's settings say of it."""
    settings: WorkerSettings = worker._settings
    redactor = Redactor([str(worker._read_mq().current_password())], settings.redactions)
    setup(chosen.log_level, is_json=(chosen.log_format or settings.log_format) == "json", redactor=redactor)


def _pool_of(workers: Sequence[Any], fuse: Fuse | None) -> WorkerPool:
    first = workers[0]
    bus = faulty_bus(open_bus(first._read_mq(), first._queue), fuse)
    ledger = faulty_ledger(first._settings.open_ledger(), fuse)
    return WorkerPool(bus, workers, ledger=ledger, read_mq=first._read_mq)


def _show_crashes() -> None:
    """Have a crash in C, and SIGABRT, write the stacks of all threads to stderr."""
    with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):  # stderr is no file
        if not faulthandler.is_enabled():
            faulthandler.enable()


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


def mq_mapping(source: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the mapping that `Worker` takes, from a file or an ``amqp(s)://`` URL.

    Args:
        source: path or URL; None is the variable ``REWORKER_MQ``.
        environ: where the variable is looked up.

    Raises:
        ConfigError: missing, unreadable or wrong.
    """
    name = source or environ.get(MQ_VARIABLE) or ""
    if not name or name.startswith(("amqp://", "amqps://")):
        return _mapping_of(mq_settings(name or None))
    return load_mapping(name)


def _mapping_of(settings: MqSettings) -> dict[str, Any]:
    return {
        "servers": list(settings.servers),
        "port": settings.port,
        "vhost": settings.vhost,
        "user": settings.user,
        "password": settings.password,
        "password_file": settings.password_file,
        "ssl": settings.tls is not None,
        "heartbeat": settings.heartbeat_s,
    }


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a worker until SIGTERM or SIGINT.")
    parser.add_argument(
        "mq", nargs="?", metavar="MQ_CONFIG", help=f"file or amqp:// URL; default ${MQ_VARIABLE}"
    )
    parser.add_argument(
        "-w", "--worker-config", metavar="FILE", help="JSON or YAML file of the worker's own settings"
    )
    parser.add_argument(
        "--instances", type=int, metavar="N", help="threads, each with a worker object of its own"
    )
    parser.add_argument(
        "--health", metavar="ADDRESS", help="PORT or HOST:PORT that tells health and metrics; 0: a free port"
    )
    parser.add_argument("--log-level", default="INFO", choices=LEVELS)
    parser.add_argument("--log-format", choices=("text", "json"))
    parser.add_argument("--json-logs", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.instances is not None and arguments.instances < 1:
        parser.error("--instances: expected at least 1")
    return arguments


def _leave(error: Exception, code: int) -> None:
    sys.stderr.write(escaped(f"reworker: {error}") + "\n")
    raise SystemExit(code) from error

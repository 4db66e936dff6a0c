"""``runner(YourWorker)``: from the command line to a running worker, and to an exit code.

::

    python myworker.py MQ_CONFIG [-w WORKER_CONFIG] [--instances N] [--log-level LEVEL] [--json-logs]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from reworker.config import MQ_VARIABLE, MqSettings, load_mapping, mq_settings
from reworker.drill.faults import Fuse, faulty_bus, faulty_ledger, faulty_worker, fuse_of
from reworker.errors import BusError, CannotConnect, ConfigError
from reworker.ledger import open_ledger
from reworker.logs import escaped, setup
from reworker.pool.pool import WorkerPool, open_bus

#: exit codes, as every command of ours.
CONFIG_EXIT_CODE = 2
CONNECT_EXIT_CODE = 3
BUS_EXIT_CODE = 1
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def runner(worker_cls: Any) -> None:
    """Run a worker class until it is told to stop; arguments are those of the process.

    Returns after a clean stop.

    Raises:
        SystemExit: 2 for wrong settings, 3 when no broker answers, 1 when the bus fails otherwise.
    """
    arguments = _parse(sys.argv[1:])
    run_worker(
        worker_cls,
        arguments.mq,
        arguments.worker_config,
        instances=arguments.instances,
        log_level=arguments.log_level,
        is_json=arguments.json_logs,
    )


def run_worker(
    worker_cls: Any,
    mq: str | None,
    config_file: str | None,
    *,
    instances: int | None = None,
    log_level: str = "INFO",
    is_json: bool = False,
) -> None:
    """Do what `runner` does, with its arguments given; see there.

    Args:
        worker_cls: subclass of `Worker`.
        mq: file or URL; None is the variable ``REWORKER_MQ``.
        config_file: the worker's own settings.
        instances: threads; None is what the worker's settings say.
        log_level: lowest level shown.
        is_json: log JSON lines.
    """
    setup(log_level, is_json=is_json)
    try:
        mapping = mq_mapping(mq, os.environ)
        fuse = fuse_of("worker", os.environ)
        make = partial(faulty_worker(worker_cls, fuse), mapping, config_file=config_file)
        worker = make()
        count = instances or _instances_of(worker)
        if count > 1 or fuse is not None:
            _pool_of([worker, *(make() for _ in range(count - 1))], mapping, fuse).run()
        else:
            worker.run_forever()
    except ConfigError as error:
        _leave(error, CONFIG_EXIT_CODE)
    except CannotConnect as error:
        _leave(error, CONNECT_EXIT_CODE)
    except BusError as error:
        _leave(error, BUS_EXIT_CODE)


def _pool_of(workers: Sequence[Any], mapping: Mapping[str, Any], fuse: Fuse | None) -> WorkerPool:
    first = workers[0]
    bus = faulty_bus(open_bus(mq_settings(mapping), first._queue), fuse)
    return WorkerPool(bus, workers, ledger=faulty_ledger(open_ledger(first._settings.ledger), fuse))


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
    parser.add_argument("--log-level", default="INFO", choices=LEVELS)
    parser.add_argument("--json-logs", action="store_true", help="log JSON lines")
    arguments = parser.parse_args(argv)
    if arguments.instances is not None and arguments.instances < 1:
        parser.error("--instances: expected at least 1")
    return arguments


def _instances_of(worker: Any) -> int:
    count = getattr(getattr(worker, "_settings", None), "instances", 1)
    return count if isinstance(count, int) else 1


def _leave(error: Exception, code: int) -> None:
    sys.stderr.write(escaped(f"reworker: {error}") + "\n")
    raise SystemExit(code) from error

"""``reworker core``: the FSM core as a daemon."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import msgspec

from reworker.cli.core_probe import CoreProbe
from reworker.cli.main import EXIT_WAITING
from reworker.cli.options import LogChoice, db_option, health_option, log_options, optional_mq_option
from reworker.cli.wiring import name_of_database, running_core, secrets_of
from reworker.clock import SystemClock
from reworker.core.draining import Draining
from reworker.core.release_lines import core_log
from reworker.core.settings import CoreSettings, core_file, core_name
from reworker.errors import ConfigError
from reworker.host.health import combined
from reworker.host.vigil import watched
from reworker.pool.signals import StopRequest, stop_signals
from reworker.storage.contract import Reader

if TYPE_CHECKING:
    from reworker.config import MqSettings

logger = logging.getLogger(__name__)

#: seconds to look for the broker at start: it may be starting too.
START_S = 30.0
#: seconds between two looks at what is open, while draining.
LOOK_S = 0.5
#: how a database on a server is named.
SERVER_PREFIX = "postgres"
#: deployments that are named in a warning.
SHOWN_COUNT = 10


@click.command()
@optional_mq_option
@db_option
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Settings of the core, JSON or YAML.")
@click.option("-t", "--triggers", type=click.Path(dir_okay=False), help="Triggers, instead of the settings'.")
@click.option(
    *("--drain", "drain_s"),
    is_flag=False,
    flag_value=float("inf"),
    type=click.FloatRange(0),
    metavar="[SECONDS]",
    help="Take no job requests, finish the open deployments and end; after SECONDS end anyhow, with code 4.",
)
@health_option
@log_options
def core(
    mq: str | None,
    db: str,
    config: str | None,
    triggers: str | None,
    drain_s: float | None,
    health: str | None,
    log: LogChoice,
) -> None:
    """Run deployments until SIGTERM; what is not finished goes on at the next start."""
    log.set_up()
    found = core_file(config, triggers=triggers)
    settings, bus = named(found.settings, db), required_bus(mq or found.mq)
    log.set_up(settings.log_format, secrets_of(bus, db))
    stop_request = StopRequest()
    with ExitStack() as stack:
        stack.enter_context(core_log(settings.log_file, settings.log_level))
        for note in found.notes:
            logger.warning("%s: %s", config, note)
        stack.enter_context(stop_signals(stop_request.make))
        running = stack.enter_context(
            running_core(bus, db, settings, timeout_s=START_S, takes_jobs=drain_s is None)
        )
        probe = combined([CoreProbe(running)], f"core {settings.name}")
        stack.enter_context(watched(probe, health or settings.health, environ=os.environ))
        logger.info("core %s runs on %s", settings.name, name_of_database(db))
        left = [] if drain_s is None else _drained(running.service.reader, drain_s, stop_request)
        if drain_s is None:
            stop_request.wait()
        logger.info("stopping")
    if left:
        sys.exit(EXIT_WAITING)


def required_bus(mq: str | MqSettings | None) -> str | MqSettings:
    """Return the message bus that was named.

    Raises:
        ConfigError: none was.
    """
    if not mq:
        reason = (
            "no message bus is set: give --mq FILE_OR_URL, set REWORKER_MQ, or say it in an old file's MQ"
        )
        raise ConfigError(reason, key="--mq")
    return mq


def named(settings: CoreSettings, db: str) -> CoreSettings:
    """Name a core on a server for its machine, unless its settings do: others run there too."""
    if settings.name != CoreSettings().name or not db.startswith(SERVER_PREFIX):
        return settings
    return msgspec.structs.replace(settings, name=core_name(socket.gethostname()))


def _drained(reader: Reader, limit_s: float, stop_request: StopRequest) -> list[str]:
    """Wait until nothing moves, the time is up or a signal comes; return what would still have moved."""
    draining, clock, is_over = Draining(reader), SystemClock(), threading.Event()
    end_mono_s = clock.mono_s() + limit_s

    def watch() -> None:
        try:
            while clock.mono_s() < end_mono_s and not is_over.wait(LOOK_S):
                if draining.is_over():
                    is_over.set()
        finally:
            stop_request.make()

    threading.Thread(target=watch, name="core drain", daemon=True).start()
    stop_request.wait()
    left = draining.left()
    if left:
        why = "wait for people" if is_over.is_set() else "have not ended"
        shown = ", ".join(left[:SHOWN_COUNT])
        logger.warning("%d deployments %s, they go on at the next start: %s", len(left), why, shown)
    return [] if is_over.is_set() else left

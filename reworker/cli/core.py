"""``reworker core``: the FSM core as a daemon."""

from __future__ import annotations

import logging

import click

from reworker.cli.options import db_option, log_options, optional_mq_option
from reworker.cli.wiring import name_of_database, running_core
from reworker.core.release_lines import core_log
from reworker.core.settings import core_file
from reworker.errors import ConfigError
from reworker.logs import setup
from reworker.pool.signals import StopRequest, stop_signals

logger = logging.getLogger(__name__)

#: seconds to look for the broker at start: it may be starting too.
START_S = 30.0


@click.command()
@optional_mq_option
@db_option
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Settings of the core, JSON or YAML.")
@click.option("-t", "--triggers", type=click.Path(dir_okay=False), help="Triggers, instead of the settings'.")
@log_options
def core(
    mq: str | None, db: str, config: str | None, triggers: str | None, log_level: str, json_logs: bool
) -> None:
    """Run deployments until SIGTERM; what is not finished goes on at the next start."""
    setup(log_level.upper(), is_json=json_logs)
    found = core_file(config, triggers=triggers)
    settings, bus = found.settings, mq or found.mq
    if not bus:
        reason = (
            "no message bus is set: give --mq FILE_OR_URL, set REWORKER_MQ, or say it in an old file's MQ"
        )
        raise ConfigError(reason, key="--mq")
    stop_request = StopRequest()
    with (
        core_log(settings.log_file, settings.log_level),
        stop_signals(stop_request.make),
        running_core(bus, db, settings, timeout_s=START_S),
    ):
        for note in found.notes:
            logger.warning("%s: %s", config, note)
        logger.info("core %s runs on %s", settings.name, name_of_database(db))
        stop_request.wait()
        logger.info("stopping")

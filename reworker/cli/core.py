"""``reworker core``: the FSM core as a daemon."""

from __future__ import annotations

import logging

import click

from reworker.cli.options import db_option, log_options, mq_option
from reworker.cli.wiring import running_core
from reworker.core.settings import core_settings
from reworker.logs import setup
from reworker.pool.signals import StopRequest, stop_signals

logger = logging.getLogger(__name__)

#: seconds to look for the broker at start: it may be starting too.
START_S = 30.0


@click.command()
@mq_option
@db_option
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Settings of the core, JSON or YAML.")
@log_options
def core(mq: str, db: str, config: str | None, log_level: str, json_logs: bool) -> None:
    """Run deployments until SIGTERM; what is not finished goes on at the next start."""
    setup(log_level.upper(), is_json=json_logs)
    settings = core_settings(config)
    stop_request = StopRequest()
    with stop_signals(stop_request.make), running_core(mq, db, settings, timeout_s=START_S):
        logger.info("core %s runs on %s", settings.name, db)
        stop_request.wait()
        logger.info("stopping")

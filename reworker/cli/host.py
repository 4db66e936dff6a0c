"""``reworker host``: many workers as one daemon."""

from __future__ import annotations

import os
import sys

import click

from reworker.cli.options import LogChoice, health_option, log_options, optional_mq_option
from reworker.host.host import WorkerHost
from reworker.host.listing import load_host_file
from reworker.runner import mq_mapping


@click.command()
@click.option(
    "-c",
    "--config",
    type=click.Path(dir_okay=False),
    required=True,
    help="The list of workers, JSON or YAML.",
)
@optional_mq_option
@health_option
@click.option("--reload", "is_reloading", is_flag=True, help="Start anew when source or settings change.")
@log_options
def host(config: str, mq: str | None, health: str | None, is_reloading: bool, log: LogChoice) -> None:
    """Run the workers that a file lists until SIGTERM; what ends is started again."""
    log.set_up()
    sys.exit(_made(config, mq, health).run())


def _made(config: str, mq: str | None, health: str | None) -> WorkerHost:
    found = load_host_file(config)
    mapping = mq_mapping(mq or found.mq or None, os.environ)
    address = found.health if health is None else health
    return WorkerHost(found.entries, mapping, ini=found.ini, health=address)

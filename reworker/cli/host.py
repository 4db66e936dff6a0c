"""``reworker host``: many workers as one daemon."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import partial

import click

from reworker.cli.options import LogChoice, health_option, log_options, optional_mq_option
from reworker.errors import ConfigError
from reworker.host.host import WorkerHost
from reworker.host.listing import load_host_file
from reworker.host.reloading import ReloadingHost
from reworker.jobs.sources import INI_NAME
from reworker.logs import Redactor, setup
from reworker.worker import Worker


@click.command()
@click.option(
    *("-c", "--config"),
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
    make = partial(_made, config, mq, health, log)
    sys.exit(ReloadingHost(make, _files_of(config)).run() if is_reloading else make().run())


def _files_of(config: str) -> Iterator[str]:
    """Yield the files of settings of a host, as far as they can be read."""
    yield os.path.abspath(config)
    yield os.path.abspath(INI_NAME)
    with contextlib.suppress(ConfigError):
        found = load_host_file(config)
        named = (found.ini, found.mq, *(one.config_file for one in found.entries))
        yield from (os.path.abspath(one) for one in named if one and "://" not in one)


def _made(config: str, mq: str | None, health: str | None, log: LogChoice) -> WorkerHost:
    found = load_host_file(config)
    return WorkerHost(
        found.entries,
        mq or found.mq or None,
        ini=found.ini,
        health=found.health if health is None else health,
        prepare=lambda worker: _set_up_log(worker, log),
    )


def _set_up_log(worker: Worker, log: LogChoice) -> None:
    """Set the log of one process up, with what its worker's settings say of it."""
    settings = worker._settings
    is_json = settings.log_format == "json" if log.is_json is None else log.is_json
    redactor = Redactor([str(worker._mq_settings().current_password())], settings.redactions)
    setup(log.level, is_json=is_json, redactor=redactor)

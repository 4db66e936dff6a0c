"""``reworker worker NAME``: one worker type as a daemon."""

from __future__ import annotations

import click

from reworker.cli.leash import leash_option
from reworker.cli.options import LogChoice, health_option, log_options
from reworker.host.plugins import load_worker
from reworker.runner import Chosen, run_worker


@click.command()
@click.argument("name")
@click.argument("mq", required=False, envvar="REWORKER_MQ", metavar="MQ_CONFIG")
@click.option("-w", "--worker-config", type=click.Path(dir_okay=False), help="The worker's own settings.")
@click.option("--instances", type=click.IntRange(1), help="Threads, each with a worker object of its own.")
@click.option("--processes", type=click.IntRange(1), help="Processes with so many instances each.")
@leash_option
@health_option
@log_options
def worker(
    name: str,
    mq: str | None,
    worker_config: str | None,
    instances: int | None,
    processes: int | None,
    health: str | None,
    log: LogChoice,
) -> None:
    """Run the worker NAME until SIGTERM: a plugin's name, or module:Class.

    MQ_CONFIG is a file or an amqp:// URL; default $REWORKER_MQ.
    """
    log_format = None if log.is_json is None else "json" if log.is_json else "text"
    chosen = Chosen(instances, processes, health, log.level, log_format)
    run_worker(load_worker(name), mq, worker_config, chosen)

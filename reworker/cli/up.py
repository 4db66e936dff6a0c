"""``reworker up``: broker, core and workers with one command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from reworker.cli.core_probe import CoreProbe
from reworker.cli.options import LogChoice, health_option, log_options
from reworker.cli.wiring import LOCAL_WORKERS, local_system
from reworker.host.health import combined
from reworker.host.probes import PoolProbe
from reworker.host.vigil import watched
from reworker.pool.signals import StopRequest, stop_signals


@click.command()
@click.option("--state", default="state", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--mq-port", default=5672, show_default=True, type=click.IntRange(0, 65535), help="0: a free port."
)
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="NAME",
    help=f"Worker to run; may be repeated. Default: {', '.join(LOCAL_WORKERS)}.",
)
@health_option
@log_options
def up(state: Path, mq_port: int, workers: tuple[str, ...], health: str | None, log: LogChoice) -> None:
    """Run the embedded broker, a core and workers until SIGTERM; for development."""
    log.set_up()
    stop_request = StopRequest()
    with (
        stop_signals(stop_request.make),
        local_system(state, workers or LOCAL_WORKERS, port=mq_port) as system,
        watched(
            combined([CoreProbe(system.core), *map(PoolProbe, system.pools)], "up"),
            health or os.environ.get("REWORKER_HEALTH", ""),
            environ=os.environ,
        ),
    ):
        click.echo(f"ready: broker {system.url}")
        click.echo(f"run a playbook:  reworker run PLAYBOOK --db {system.db}")
        click.echo(f"add a worker:    reworker worker NAME {system.url}")
        stop_request.wait()
        click.echo("stopping: a step that runs is finished; a second signal ends it at once")

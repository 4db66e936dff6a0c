"""``reworker up``: broker, core and workers with one command."""

from __future__ import annotations

from pathlib import Path

import click

from reworker.cli.options import log_options
from reworker.cli.wiring import LOCAL_WORKERS, local_system
from reworker.logs import setup
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
@log_options
def up(state: Path, mq_port: int, workers: tuple[str, ...], log_level: str, json_logs: bool) -> None:
    """Run the embedded broker, a core and workers until SIGTERM; for development."""
    setup(log_level.upper(), is_json=json_logs)
    stop_request = StopRequest()
    with (
        stop_signals(stop_request.make),
        local_system(state, workers or LOCAL_WORKERS, port=mq_port) as system,
    ):
        click.echo(f"ready: broker {system.url}")
        click.echo(f"run a playbook:  reworker run PLAYBOOK --db {system.db}")
        click.echo(f"add a worker:    reworker worker NAME {system.url}")
        stop_request.wait()
        click.echo("stopping: a step that runs is finished; a second signal ends it at once")

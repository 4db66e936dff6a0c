"""``reworker up``: broker, core and workers with one command."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from reworker.cli.code_side import running_code_worker
from reworker.cli.conductor_options import with_ledger
from reworker.cli.core_probe import CoreProbe
from reworker.cli.oidc_options import oidc_options
from reworker.cli.options import LogChoice, health_option, log_options
from reworker.cli.web import echo_conductor, echo_link, web_options
from reworker.cli.web_side import running_web
from reworker.cli.wiring import LOCAL_WORKERS, local_system, opened_storage
from reworker.host.health import combined
from reworker.host.probes import PoolProbe
from reworker.host.vigil import watched
from reworker.pool.signals import StopRequest, stop_signals

if TYPE_CHECKING:
    from reworker.web.oidc.settings import OidcSettings
    from reworker.web.settings import WebSettings

#: tasks of code packages at once: what a small machine does beside its other work.
CODE_SLOT_COUNT = 2


class Crew(NamedTuple):
    """What works: names of workers, and tasks of code packages at once."""

    workers: tuple[str, ...]
    code_slot_count: int


def crew_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what works, which become ``crew``."""

    @wraps(function)
    def command(*, workers: tuple[str, ...], code_slots: int, **rest: Any) -> Any:
        return function(crew=Crew(workers or LOCAL_WORKERS, code_slots), **rest)

    names = click.option(
        "--worker",
        "workers",
        multiple=True,
        metavar="NAME",
        help=f"Worker to run; may be repeated. Default: {', '.join(LOCAL_WORKERS)}.",
    )
    slots = click.option(
        "--code-slots",
        default=CODE_SLOT_COUNT,
        show_default=True,
        type=click.IntRange(0, 64),
        help="Tasks of code packages to run at once; 0 runs none here.",
    )
    return names(slots(command))


@click.command()
@click.option("--state", default="state", show_default=True, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--mq-port", default=5672, show_default=True, type=click.IntRange(0, 65535), help="0: a free port."
)
@crew_options
@web_options(None, has_conductor=True)
@oidc_options
@health_option
@log_options
def up(
    state: Path,
    mq_port: int,
    crew: Crew,
    web_settings: WebSettings,
    oidc: OidcSettings | None,
    health: str | None,
    log: LogChoice,
) -> None:
    """Run the embedded broker, a core, workers and the dashboard until SIGTERM; for development."""
    log.set_up()
    stop_request = StopRequest()
    with (
        stop_signals(stop_request.make),
        local_system(state, crew.workers, port=mq_port) as system,
        opened_storage(system.db) as stores,
        running_web(
            stores,
            with_ledger(web_settings, system.db),
            mq=system.url,
            service=system.core.service,
            oidc=oidc,
            probe=(probe := combined([CoreProbe(system.core), *map(PoolProbe, system.pools)], "up")),
        ) as side,
        running_code_worker(stores[0], system.url, side.url, crew.code_slot_count),
        watched(probe, health or os.environ.get("REWORKER_HEALTH", ""), environ=os.environ),
    ):
        click.echo(f"ready: broker {system.url}")
        click.echo(f"dashboard and API: {side.url}")
        echo_conductor(side)
        echo_link(side)
        click.echo(f"run a playbook:  reworker run PLAYBOOK --db {system.db}")
        if crew.code_slot_count:
            click.echo(f"upload a script: reworker code upload FILE --server {side.url}")
        click.echo(f"add a worker:    reworker worker NAME {system.url}")
        stop_request.wait()
        click.echo("stopping: a step that runs is finished; a second signal ends it at once")

"""``reworker serve``: a core and the HTTP side in one process, beside a broker of your own."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from reworker.cli.conductor_options import with_ledger
from reworker.cli.core import START_S, named, required_bus
from reworker.cli.core_probe import CoreProbe
from reworker.cli.oidc_options import oidc_options
from reworker.cli.options import LogChoice, db_option, health_option, log_options, optional_mq_option
from reworker.cli.web import echo_conductor, echo_link, web_options
from reworker.cli.web_side import running_web
from reworker.cli.wiring import name_of_database, opened_storage, running_core, secrets_of
from reworker.core.release_lines import core_log
from reworker.core.settings import core_file
from reworker.host.health import combined
from reworker.host.vigil import watched
from reworker.pool.signals import StopRequest, stop_signals

if TYPE_CHECKING:
    from reworker.web.oidc.settings import OidcSettings
    from reworker.web.settings import WebSettings

logger = logging.getLogger(__name__)


@click.command()
@optional_mq_option
@db_option
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="Settings of the core, JSON or YAML.")
@web_options(8080)
@oidc_options
@health_option
@log_options
def serve(
    mq: str | None,
    db: str,
    config: str | None,
    web_settings: WebSettings,
    oidc: OidcSettings | None,
    health: str | None,
    log: LogChoice,
) -> None:
    """Run a core and serve the HTTP API and the dashboard, in one process, until SIGTERM.

    It takes little more memory than one of `core` and `web` alone.
    """
    log.set_up()
    found = core_file(config)
    settings, bus = named(found.settings, db), required_bus(mq or found.mq)
    log.set_up(settings.log_format, secrets_of(bus, db))
    stop_request = StopRequest()
    with ExitStack() as stack:
        stack.enter_context(core_log(settings.log_file, settings.log_level))
        for note in found.notes:
            logger.warning("%s: %s", config, note)
        stack.enter_context(stop_signals(stop_request.make))
        core = stack.enter_context(running_core(bus, db, settings, timeout_s=START_S))
        stores = stack.enter_context(opened_storage(db))
        probe = combined([CoreProbe(core)], f"core {settings.name}")
        own = with_ledger(web_settings, db)
        web = running_web(stores, own, mq=bus, service=core.service, probe=probe, oidc=oidc)
        side = stack.enter_context(web)
        stack.enter_context(watched(probe, health or settings.health, environ=os.environ))
        logger.info("core %s runs on %s", settings.name, name_of_database(db))
        click.echo(f"ready: {side.url}")
        echo_conductor(side)
        echo_link(side)
        stop_request.wait()
        logger.info("stopping")

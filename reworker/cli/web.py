"""``reworker web``: the HTTP API and the dashboard as a daemon."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from reworker.cli.conductor_options import conductor_options, with_ledger
from reworker.cli.oidc_options import oidc_options
from reworker.cli.options import LogChoice, db_option, log_options
from reworker.cli.web_side import WebSide, running_web
from reworker.cli.wiring import existing_storage, secrets_of
from reworker.pool.signals import StopRequest, stop_signals

if TYPE_CHECKING:
    from reworker.web.oidc.settings import OidcSettings
    from reworker.web.settings import WebSettings


def web_options(
    default_port: int | None, *, has_conductor: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say where it listens and whom it trusts, which become ``web_settings``.

    Args:
        default_port: None is none: the command chooses.
        has_conductor: it serves workers that speak Conductor's HTTP unless it is told not to.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*, host: str, port: int | None, no_auth: bool, **rest: Any) -> Any:
            found = {name: rest.pop(name) for name in (*_TRUST, "conductor")}
            return function(web_settings=_settings(host, port, no_auth, found), **rest)

        return _listening(default_port, _trusting(conductor_options(command, is_on=has_conductor)))

    return add


#: options about trust, in the words of `WebSettings`.
_TRUST = ("trusted_proxies", "remote_user_header", "allowed_hosts", "tls_certificate", "tls_key", "is_tls")


def _listening(default_port: int | None, function: Callable[..., Any]) -> Callable[..., Any]:
    help_port = "0 takes a free one."
    port = click.option(
        *("--port", "port"),
        type=click.IntRange(0, 65535),
        default=default_port,
        show_default=default_port is not None,
        envvar="REWORKER_PORT",
        help=help_port if default_port is not None else f"{help_port}  [default: 8080, or a free one]",
    )
    host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
    off = click.option(
        "--no-auth", is_flag=True, help="Everybody on this machine is an administrator; for development."
    )
    return port(host(off(function)))


def _trusting(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option(
            *("--trust-proxy", "trusted_proxies"),
            multiple=True,
            metavar="ADDRESS",
            help="Server before us whose X-Forwarded-For is believed.",
        ),
        click.option(
            *("--remote-user-header", "remote_user_header"),
            default="",
            metavar="NAME",
            help="Header in which a trusted server names who it has let in, for the API of 2014.",
        ),
        click.option(
            *("--allowed-host", "allowed_hosts"),
            multiple=True,
            metavar="NAME",
            help="Name under which others know this server.  [default: any]",
        ),
        click.option("--tls-certificate", type=click.Path(dir_okay=False), help="PEM file; with --tls-key."),
        click.option("--tls-key", type=click.Path(dir_okay=False), help="PEM file."),
        click.option(
            *("--behind-tls", "is_tls"),
            is_flag=True,
            help="A server before us speaks HTTPS: cookies are for HTTPS only.",
        ),
    )
    for one in options:
        function = one(function)
    return function


def _settings(host: str, port: int | None, no_auth: bool, trust: dict[str, Any]) -> WebSettings:
    from reworker.web.settings import WebSettings

    return WebSettings(host=host, port=-1 if port is None else port, has_auth=not no_auth, **trust)


@click.command()
@click.option(
    "--mq", envvar="REWORKER_MQ", metavar="FILE_OR_URL", help="Broker, for queues and dead letters."
)
@click.option(
    "--management",
    envvar="REWORKER_MANAGEMENT",
    default="",
    metavar="URL",
    help="The broker's management plugin, for rates and what is unacknowledged.",
)
@db_option
@web_options(8080)
@oidc_options
@log_options
def web(
    mq: str | None,
    management: str,
    db: str,
    web_settings: WebSettings,
    oidc: OidcSettings | None,
    log: LogChoice,
) -> None:
    """Serve the HTTP API and the dashboard until SIGTERM.

    It works on the database; a core may run here or on another machine.
    """
    log.set_up(secrets=secrets_of(mq, db) if mq else ())
    stop_request = StopRequest()
    with (
        stop_signals(stop_request.make),
        existing_storage(db) as stores,
        running_web(stores, with_ledger(web_settings, db), mq=mq, management=management, oidc=oidc) as side,
    ):
        click.echo(f"ready: {side.url}")
        echo_conductor(side)
        echo_link(side)
        stop_request.wait()


def echo_conductor(side: WebSide) -> None:
    """Print what clients of Conductor are given as their server, if they are served."""
    if side.conductor_url:
        click.echo(f"workers of Conductor: {side.conductor_url}")


def echo_link(side: WebSide) -> None:
    """Print how to log in for the first time, if nobody has."""
    if side.link:
        click.echo(f"log in as the first administrator, once: {side.link}")

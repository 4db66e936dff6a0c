"""``reworker broker``: the embedded broker as a process of its own."""

from __future__ import annotations

import sys

import click

from reworker.cli.leash import leash_option
from reworker.cli.options import LogChoice, log_options
from reworker.errors import ConfigError


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=5672, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free port."
)
@click.option(
    "--store", type=click.Path(dir_okay=False), help="File that keeps durable queues over a restart."
)
@click.option("--user", help="Login name; required for an address that is not loopback.")
@click.option("--password", help="Its password.")
@leash_option
@log_options
def broker(
    host: str,
    port: int,
    store: str | None,
    user: str | None,
    password: str | None,
    log: LogChoice,
) -> None:
    """Run the embedded AMQP broker, for development and tests.

    Production is RabbitMQ's: this broker keeps its messages in one process.
    """
    from reworker.broker.server import serve

    log.set_up(secrets=[password] if password else [])
    login = {name: value for name, value in (("user", user), ("password", password)) if value is not None}
    try:
        sys.exit(serve(host, port, store_path=store, **login))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror}", key="port") from error

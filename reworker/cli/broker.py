"""``reworker broker``: the embedded broker as a process of its own."""

from __future__ import annotations

import os
import signal
import sys
import threading

import click

from reworker.cli.options import LogChoice, log_options
from reworker.errors import ConfigError


def _take_leash(_ctx: click.Context, _param: click.Parameter, is_given: bool) -> None:
    if is_given:
        threading.Thread(target=_end_with_parent, name="leash", daemon=True).start()


def _end_with_parent() -> None:
    """Stop in good order when standard input ends: the starting process held it open, however it ended."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
@click.option("--leash", is_flag=True, hidden=True, expose_value=False, callback=_take_leash)
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

"""``reworker topology``: exchanges, queues and bindings from a file."""

from __future__ import annotations

import click

from reworker.bus.contract import TopologySpec
from reworker.cli.options import mq_option
from reworker.cli.wiring import connected_bus
from reworker.errors import ConfigError
from reworker.topology.file import load_topology


@click.group()
def topology() -> None:
    """Exchanges, queues and bindings as a file."""


@topology.command()
@click.option("-f", "--file", "path", required=True, type=click.Path(dir_okay=False), help="Topology file.")
@mq_option
def apply(path: str, mq: str) -> None:
    """Declare what the file lists; what exists already is left as it is."""
    wanted = load_topology(path)
    if wanted == TopologySpec():
        raise ConfigError("lists no exchange, queue or binding", path=path)
    with connected_bus(mq, name="reworker topology") as bus:
        bus.declare(wanted)
    for exchange in wanted.exchanges:
        click.echo(f"exchange {exchange.name} ({exchange.kind})")
    for queue in wanted.queues:
        click.echo(f"queue {queue.name}")
    for binding in wanted.bindings:
        click.echo(f"binding {binding.exchange} --{binding.routing_key}--> {binding.queue}")

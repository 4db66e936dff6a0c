"""``reworker control``: ask the workers how they stand, pause them, let them go on, cancel one attempt."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import mq_option, output_option, user_name
from reworker.cli.wiring import connected_bus
from reworker.clock import SystemClock
from reworker.core.roll_call import RollCall, answers_to, order_workers, publish_control
from reworker.logs import escaped
from reworker.messages import Control, Pong, encode

if TYPE_CHECKING:
    from reworker.bus.contract import Bus

F = TypeVar("F", bound=Callable[..., Any])

#: seconds in which workers answer a ping.
WAIT_S = 1.0

reason_option = click.option("--reason", default="", help="Why; for the log of the workers.")
wait_option = click.option(
    "--wait",
    "wait_s",
    default=WAIT_S,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds to listen.",
)


def _order_options(function: F) -> F:
    """Add what an order to all processes of a worker takes."""
    options = mq_option(reason_option(wait_option(output_option(function))))
    return click.argument("name")(options)


@click.group()
def control() -> None:
    """Ask workers how they stand, pause them, let them go on, cancel an attempt."""


@control.command()
@click.argument("name", required=False, default="")
@mq_option
@wait_option
@output_option
def ping(name: str, mq: str, wait_s: float, output: str) -> None:
    """List the processes of worker NAME, or of all: their state and what they run."""
    with connected_bus(mq, name="reworker control") as bus:
        _show(_pongs(bus, name, wait_s), output)


@control.command()
@_order_options
def pause(**order: Any) -> None:
    """Have all processes of worker NAME take no new steps; what runs goes on."""
    _tell("pause", **order)


@control.command()
@_order_options
def resume(**order: Any) -> None:
    """Have all processes of worker NAME take new steps again."""
    _tell("resume", **order)


@control.command()
@click.argument("name")
@click.argument("attempt")
@mq_option
@reason_option
def cancel(name: str, attempt: str, mq: str, reason: str) -> None:
    """Stop ATTEMPT, as `ping` shows it, with the processes it has started; or refuse it when it comes.

    For a step of a deployment, `reworker cancel` is better: this leaves the deployment to do what it does
    when a step was cancelled.
    """
    with connected_bus(mq, name="reworker control") as bus:
        publish_control(bus, f"cancel.{name}", encode(Control(attempt, _signed(reason))))
    click.echo("told")


def _signed(reason: str) -> str:
    return f"{reason} ({user_name()})" if reason else user_name()


def _tell(verb: str, name: str, *, mq: str, reason: str, wait_s: float, output: str) -> None:
    """Send a message, then show how those stand that have got it."""
    with connected_bus(mq, name="reworker control") as bus:
        order_workers(bus, verb, name, _signed(reason))
        _show(_pongs(bus, name, wait_s), output)


def _pongs(bus: Bus, name: str, wait_s: float) -> list[Pong]:
    """Return the answers of the workers of that name that come in time."""
    call = RollCall(bus, SystemClock())
    call.begin()
    if call.ask():
        threading.Event().wait(wait_s)
    return [one.pong for one in call.heard() if not name or answers_to(one.pong.queue, name)]


def _show(pongs: Sequence[Pong], output: str) -> None:
    for one in pongs:
        if output == "json":
            click.echo(json.dumps(msgspec.to_builtins(one)))
            continue
        click.echo(escaped(f"{one.queue}  {one.host}:{one.pid}  {one.state}  version {one.version}"))
        for job in one.running:
            click.echo(escaped(f"  {job.attempt}  for {job.seconds:.1f} s"))
    if not pongs:
        click.echo("no worker answers", err=True)
        raise SystemExit(EXIT_FAILED)

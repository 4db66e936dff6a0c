"""``reworker cancel``, ``pause``, ``resume`` and ``decide``: what people ask of a deployment."""

from __future__ import annotations

import sys

import click

from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import db_option, user_name
from reworker.cli.wiring import opened_service
from reworker.core.batch import Applied, Result
from reworker.fsm.events import Decision


@click.command()
@click.argument("deployment")
@db_option
@click.option("--reason", default="", help="Why; kept in the history.")
def cancel(deployment: str, db: str, reason: str) -> None:
    """End DEPLOYMENT: its running step is told to stop, the rest is not started."""
    with opened_service(db) as service:
        _report(service.cancel(deployment, actor=user_name(), reason=reason), "cancelling")


@click.command()
@click.argument("deployment")
@db_option
@click.option("--reason", default="", help="Why; kept in the history.")
def pause(deployment: str, db: str, reason: str) -> None:
    """Start no further step of DEPLOYMENT until it is resumed."""
    with opened_service(db) as service:
        _report(service.pause(deployment, actor=user_name(), reason=reason), "paused")


@click.command()
@click.argument("deployment")
@db_option
def resume(deployment: str, db: str) -> None:
    """Go on with DEPLOYMENT after a pause."""
    with opened_service(db) as service:
        _report(service.resume(deployment, actor=user_name()), "resumed")


@click.command()
@click.argument("deployment")
@click.argument("attempt", type=click.IntRange(1))
@click.argument("decision", type=click.Choice([str(one) for one in Decision]))
@db_option
@click.option("--reason", default="", help="Why; kept in the history.")
def decide(deployment: str, attempt: int, decision: str, db: str, reason: str) -> None:
    """Say what became of ATTEMPT of DEPLOYMENT, when nobody else can know."""
    with opened_service(db) as service:
        actor = user_name()
        result = service.decide(deployment, attempt, Decision(decision), actor=actor, reason=reason)
        _report(result, f"decided: {decision}")


def _report(result: Result, done: str) -> None:
    if result.applied is Applied.CHANGED:
        click.echo(done)
        return
    click.echo(f"nothing changed: {result.reason}", err=True)
    sys.exit(EXIT_FAILED)

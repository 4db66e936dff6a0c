"""``reworker verify``: whether what the database says happened is what happened."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from reworker.cli.asked import Asked
from reworker.cli.main import EXIT_FAILED
from reworker.cli.options import core_option
from reworker.cli.selection import full_id
from reworker.cli.waits import counted
from reworker.cli.wiring import opened_service
from reworker.core.service import PAGE_COUNT
from reworker.logs import escaped


@click.command()
@click.argument("deployments", nargs=-1, metavar="[DEPLOYMENT...]")
@click.option("--all", "is_all", is_flag=True, help="Every deployment in the database.")
@core_option
def verify(deployments: tuple[str, ...], is_all: bool, db: str) -> None:
    """Prove the history of DEPLOYMENT: no event was changed, added or taken away.

    Each event carries a hash over itself and the one before, and all of them, played again, must lead to the
    state that is stored. What is wrong is printed, with exit code 1. It changes nothing.
    """
    if bool(deployments) is is_all:
        raise click.UsageError("give the ids of deployments, or --all")
    count = wrong_count = 0
    with opened_service(db) as service:
        for own_id in _all(service) if is_all else [full_id(service, one) for one in deployments]:
            found = service.problems(own_id)
            for problem in found:
                click.echo(escaped(f"{own_id}: {problem}"))
            count, wrong_count = count + 1, wrong_count + bool(found)
    if wrong_count:
        click.echo(f"{wrong_count} of {counted(count, 'deployment')} wrong")
        sys.exit(EXIT_FAILED)
    click.echo(f"{counted(count, 'deployment')} verified")


def _all(service: Asked) -> Iterator[str]:
    before_id = ""
    while page := service.deployments(limit=PAGE_COUNT, before_id=before_id):
        for one in page:
            before_id = one.row.id
            yield before_id

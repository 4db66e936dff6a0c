"""``reworker project``: what codes, tasks and schedules belong to."""

from __future__ import annotations

import click

from reworker.cli.options import core_option, output_option
from reworker.cli.wiring import opened_work
from reworker.cli.work_options import json_line
from reworker.clock import iso
from reworker.logs import escaped


@click.group()
def project() -> None:
    """Projects, which codes, tasks and schedules belong to; the project `default` is always there."""


@project.command()
@click.argument("name")
@core_option
@output_option
def add(name: str, db: str, output: str) -> None:
    """Make the project NAME and print its id; one that is there already stays as it is."""
    with opened_work(db) as work:
        found = work.add_project(name)
    click.echo(json_line(found) if output == "json" else found.id)


@project.command()
@core_option
@output_option
def ls(db: str, output: str) -> None:
    """List projects, by name."""
    with opened_work(db) as work:
        for one in work.projects():
            line = f"{one.id}  {iso(one.created_at)}  {one.name}"
            click.echo(json_line(one) if output == "json" else escaped(line))

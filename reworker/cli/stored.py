"""``reworker playbook``: the stored playbooks, which job requests start by their id."""

from __future__ import annotations

import json
from typing import Any

import click

from reworker.cli.options import core_option, output_option, user_name
from reworker.cli.playbooks import parse_or_exit, read_playbook
from reworker.cli.selection import full_playbook_id
from reworker.cli.wiring import opened_service
from reworker.clock import iso
from reworker.logs import escaped
from reworker.storage.contract import PlaybookRow


@click.group()
def playbook() -> None:
    """Playbooks kept in the database, so that a job request can name one by its id."""


@playbook.command()
@click.argument("file")
@click.option("--id", "playbook_id", default="", help="Store a new version of this playbook.")
@core_option
@output_option
def add(file: str, playbook_id: str, db: str, output: str) -> None:
    """Store FILE (- for standard input) and print its id; the same text again adds no version."""
    text = read_playbook(file)
    parse_or_exit(text, file)
    with opened_service(db) as service:
        own_id = full_playbook_id(service, playbook_id) if playbook_id else ""
        row = service.library.store(text.decode("utf-8-sig"), actor=user_name(), playbook_id=own_id)
    click.echo(json.dumps(row_to_json(row)) if output == "json" else row.id)


@playbook.command()
@click.option("--group", default="", help="Only playbooks of this group.")
@core_option
@output_option
def ls(group: str, db: str, output: str) -> None:
    """List the newest version of each playbook, newest first."""
    with opened_service(db) as service:
        for row in service.library.playbooks(group=group):
            line = f"{row.id}  {iso(row.created_at)}  version {row.version:<4}  {row.group} / {row.name}"
            click.echo(json.dumps(row_to_json(row)) if output == "json" else escaped(line))


@playbook.command()
@click.argument("playbook_id", metavar="ID")
@click.option("--version", default=0, type=click.IntRange(0), help="Default: the newest.")
@core_option
@output_option
def show(playbook_id: str, version: int, db: str, output: str) -> None:
    """Print the text of playbook ID."""
    with opened_service(db) as service:
        row = service.library.playbook(full_playbook_id(service, playbook_id), version)
    if output == "json":
        click.echo(json.dumps({**row_to_json(row), "text": row.text}))
    else:
        click.echo(row.text, nl=not row.text.endswith("\n"))


@playbook.command()
@click.argument("playbook_id", metavar="ID")
@core_option
def rm(playbook_id: str, db: str) -> None:
    """Remove playbook ID; its deployments go on, and `show --version` still prints it."""
    with opened_service(db) as service:
        service.library.remove(full_playbook_id(service, playbook_id), actor=user_name())
    click.echo("removed")


def row_to_json(row: PlaybookRow) -> dict[str, Any]:
    """Return ``{"id", "version", "group", "name", "digest", "actor", "created_at"}``."""
    return {
        "id": row.id,
        "version": row.version,
        "group": row.group,
        "name": row.name,
        "digest": row.digest,
        "actor": row.actor,
        "created_at": iso(row.created_at),
    }

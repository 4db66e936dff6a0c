"""``reworker lint`` and ``reworker plan``: look at playbooks without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from reworker.cli.domain_option import domain_option
from reworker.cli.main import EXIT_USAGE
from reworker.cli.options import Pairs, dynamic_option, output_option
from reworker.cli.planned import plan_lines, plan_objects
from reworker.core import parameters
from reworker.errors import ConfigError, PlaybookInvalid
from reworker.fsm.document import MAX_BYTES
from reworker.fsm.domains import ByCommand
from reworker.fsm.parsing import Reading, examine
from reworker.fsm.plan import Plan, compile_plan
from reworker.fsm.playbook import Playbook
from reworker.fsm.rules import Rules
from reworker.logs import escaped


def read_playbook(path: str) -> bytes:
    """Return the bytes of a playbook file, no more than say that it is too large; ``-`` is standard input.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        if path == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=path) from error


def parse_or_exit(text: bytes, path: str) -> Playbook:
    """Return the playbook; one with problems ends the command, with all of them on stderr."""
    reading, found = _examined(text, path)
    for problem in found:
        click.echo(escaped(f"reworker: {problem}"), err=True)
    if found or reading.playbook is None:
        sys.exit(EXIT_USAGE)
    return reading.playbook


def _examined(text: bytes, path: str) -> tuple[Reading, list[PlaybookInvalid]]:
    """Return what there is in a text, and all its problems by line, those of `params` too."""
    reading = examine(text, path)
    if reading.playbook is None:
        return reading, reading.problems
    found = parameters.problems(reading.playbook, reading.param_lines, source=path)
    return reading, sorted([*reading.problems, *found], key=lambda problem: problem.line)


@click.command()
@click.argument("playbooks", nargs=-1, required=True, metavar="PLAYBOOK...")
def lint(playbooks: tuple[str, ...]) -> None:
    """Check playbooks; every problem and every note on a line of its own, with file and line."""
    is_wrong = False
    for path in playbooks:
        reading, found = _examined(read_playbook(path), path)
        for line in (*found, *(f"note: {note}" for note in reading.notes)):
            click.echo(escaped(str(line)))
        is_wrong = is_wrong or bool(found)
    if is_wrong:
        sys.exit(EXIT_USAGE)
    click.echo(f"{len(playbooks)} valid")


@click.command()
@click.argument("playbook")
@dynamic_option
@click.option("--db", metavar="URL", help="Add the triggers, checks and actions that its core would add.")
@domain_option
@output_option
def plan(playbook: str, dynamic: Pairs, db: str | None, domains: ByCommand, output: str) -> None:
    """Show what PLAYBOOK would do: locks, every message, approval and check, and what follows a failure."""
    found = parse_or_exit(read_playbook(playbook), playbook)
    rules = _rules_of(db) if db else None
    values = parameters.as_typed(found, dynamic, dynamic.texts)
    values = parameters.complete(found, values, rules, source=playbook)
    compiled = compile_plan(found, values, rules=rules, domains=domains, source=playbook)
    show_plan(compiled, rules, output)


def show_plan(compiled: Plan, rules: Rules | None, output: str) -> None:
    """Print a plan; `rules` tell which steps came from triggers."""
    if output == "json":
        for one in plan_objects(compiled, rules):
            click.echo(json.dumps(one))
    else:
        for line in plan_lines(compiled, rules):
            click.echo(escaped(line))


def _rules_of(db: str) -> Rules:
    # not above: without --db, no database library is needed
    from reworker.cli.wiring import existing_storage
    from reworker.clock import SystemClock
    from reworker.core.library import Library

    with existing_storage(db) as (storage, _):
        return Library(storage, SystemClock()).rules()

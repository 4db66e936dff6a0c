"""The values that a playbook takes, from its `params`: shown, and completed by shells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from reworker.cli.options import core_option, output_option
from reworker.cli.playbooks import parse_or_exit, read_playbook
from reworker.cli.selection import full_playbook_id, is_beginning
from reworker.fsm.playbook import Playbook, dynamic_names
from reworker.logs import escaped

if TYPE_CHECKING:
    from reworker.cli.asked import Asked

#: digits of an id of a stored playbook that may stand for it where a file is expected.
ID_CHARACTERS = 6


class Chosen(NamedTuple):
    """A playbook's text, and the id of the stored playbook that it is of; empty is none."""

    text: bytes
    id: str = ""


def is_stored(name: str) -> bool:
    """Tell whether a person means a stored playbook: it looks like an id, and no file is called so."""
    return len(name) >= ID_CHARACTERS and is_beginning(name) and not Path(name).exists()


def stored_playbook(service: Asked, name: str) -> Chosen:
    """Return the stored playbook whose id begins like this.

    Raises:
        ConfigError: several ids do.
        PlaybookNotFound: none does.
    """
    own_id = full_playbook_id(service, name)
    return Chosen(service.library.playbook(own_id).text.encode(), own_id)


class Param(NamedTuple):
    """One value that a playbook takes."""

    name: str
    schema: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What may be given, in words."""
        if "enum" in self.schema:
            return "one of " + ", ".join(map(_text, self.schema["enum"]))
        kind = self.schema.get("type", "any")
        words = kind if isinstance(kind, str) else " or ".join(map(str, kind))
        least, most = self.schema.get("minimum"), self.schema.get("maximum")
        if least is not None and most is not None:
            return f"{words} from {least} to {most}"
        if least is not None:
            return f"{words}, at least {least}"
        return words if most is None else f"{words}, at most {most}"

    @property
    def default(self) -> str:
        """What holds when nothing is given, in words."""
        if "default" not in self.schema:
            return "required"
        return f"default {_text(self.schema['default']) or repr('')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """What a shell may suggest."""
        if "enum" in self.schema:
            return tuple(map(_text, self.schema["enum"]))
        if self.schema.get("type") == "boolean":
            return ("true", "false")
        return (_text(self.schema["default"]),) if "default" in self.schema else ()


def params_of(playbook: Playbook) -> list[Param]:
    """Return what a playbook takes: its `params`, and names that its steps list and no schema describes."""
    steps = (step for sequence in playbook.execution for step in sequence.steps)
    others = sorted(dynamic_names(steps) - playbook.params.keys())
    known = [Param(name, schema) for name, schema in playbook.params.items() if isinstance(schema, dict)]
    return [*known, *(Param(name, {}) for name in others)]


@click.command()
@click.argument("playbook")
@core_option
@output_option
def params(playbook: str, db: str, output: str) -> None:
    """Show the values that PLAYBOOK takes, to be given with `run -e NAME=VALUE`.

    PLAYBOOK is as for `run`. With -o json it is one JSON Schema.
    """
    # not above: a file needs no database
    from reworker.cli.wiring import opened_service

    if is_stored(playbook):
        with opened_service(db) as service:
            text = stored_playbook(service, playbook).text
    else:
        text = read_playbook(playbook)
    found = params_of(parse_or_exit(text, playbook))
    if output == "json":
        click.echo(json.dumps(_schema(found)))
        return
    if not found:
        click.echo("it takes no values")
    for one in found:
        about = one.schema.get("description")
        click.echo(escaped(f"{one.name}  {one.kind}, {one.default}" + (f": {about}" if about else "")))


def _schema(found: list[Param]) -> dict[str, Any]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {one.name: dict(one.schema) for one in found},
        "required": [one.name for one in found if "default" not in one.schema],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def complete_playbook(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell suggest files."""
    return [CompletionItem(incomplete, type="file")]

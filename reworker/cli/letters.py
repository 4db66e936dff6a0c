"""What the commands on dead letters have in common: where they look, and how letters are shown."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from reworker.clock import iso
from reworker.config import mq_settings
from reworker.core.letter_box import row
from reworker.logs import escaped
from reworker.topology.letters import Letter

if TYPE_CHECKING:
    from reworker.bus.browse import QueueBrowser

#: characters of a reason that are shown in a list.
REASON_CHARACTERS = 100


def browser(mq: str, queue: str) -> QueueBrowser:
    """Return a look through a queue, not begun yet.

    Raises:
        ConfigError: the settings of the bus are wrong.
    """
    from reworker.bus.browse import QueueBrowser  # not above: `--help` needs no AMQP client

    return QueueBrowser(mq_settings(mq, os.environ), queue)


def table(letters: Sequence[Letter]) -> Iterator[str]:
    """Yield a line for each letter: id, when, from which queue, why."""
    width = max((len(one.queue) for one in letters), default=0)
    for one in letters:
        at = iso(one.at) if one.at else "-"
        reason = (
            one.reason if len(one.reason) <= REASON_CHARACTERS else one.reason[:REASON_CHARACTERS] + "..."
        )
        yield escaped(f"{one.id:<14}  {at:<24}  {one.queue or '-':<{width}}  {reason or 'no reason given'}")


def counted(count: int) -> str:
    """Return so many dead letters in words."""
    return "1 dead letter" if count == 1 else f"{count} dead letters"


def page(letter: Letter, properties: Mapping[str, Any], body: str) -> Iterator[str]:
    """Yield the lines that show everything about a letter; what a stranger wrote is escaped."""
    for name, value in row(letter).items():
        yield _line(name, value)
    for name, value in properties.items():
        if name != "headers":
            yield _line(f"property {name}", value)
    for name, value in (properties.get("headers") or {}).items():
        yield _line(f"header {name}", value)
    yield "body"
    yield from (f"  {escaped(line)}" for line in body.split("\n"))


def document(letter: Letter, properties: Mapping[str, Any], body: str) -> str:
    """Return everything about a letter as JSON."""
    return json.dumps(row(letter) | {"properties": properties, "body": body})


def _line(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return escaped(f"{name:<24}  {text}")


def echo(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)

"""What the commands on dead letters have in common: finding those that are meant, and showing them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from reworker.clock import iso
from reworker.config import mq_settings
from reworker.errors import ConfigError, LetterNotFound
from reworker.logs import escaped
from reworker.topology.letters import Filter, Letter, letter_of

if TYPE_CHECKING:
    from reworker.bus.browse import Found, QueueBrowser

#: characters of a reason in a list, and bytes of a body, that are shown.
REASON_CHARACTERS, BODY_BYTES = 100, 4_000
#: letters that an error lists.
_LISTED_COUNT = 5


def browser(mq: str, queue: str) -> QueueBrowser:
    """Return a look through a queue, not begun yet.

    Raises:
        ConfigError: the settings of the bus are wrong.
    """
    from reworker.bus.browse import QueueBrowser  # not above: `--help` needs no AMQP client

    return QueueBrowser(mq_settings(mq, os.environ), queue)


def walk(browsed: QueueBrowser, limit: int) -> Iterator[tuple[Letter, Found]]:
    """Yield each letter with its message, the oldest first; the second of two that are equal is ``ID.2``."""
    seen: Counter[str] = Counter()
    for found in browsed.messages(limit):
        letter = letter_of(found.properties, found.routing_key, found.body)
        seen[letter.id] += 1
        if seen[letter.id] > 1:
            letter = msgspec.structs.replace(letter, id=f"{letter.id}.{seen[letter.id]}")
        yield letter, found


def listed(browsed: QueueBrowser, limit: int, wanted: Filter) -> tuple[list[Letter], int]:
    """Return the letters that a filter takes, and how many were looked at."""
    letters, looked_at = [], 0
    for letter, _ in walk(browsed, limit):
        looked_at += 1
        if wanted.takes(letter):
            letters.append(letter)
    return letters, looked_at


def selected(
    browsed: QueueBrowser, limit: int, ids: Container[str], count: int
) -> Iterator[tuple[Letter, Found]]:
    """Yield the letters of these ids, each with its message; look no further than the last of `count`."""
    if not count:
        return
    for letter, found in walk(browsed, limit):
        if letter.id in ids:
            yield letter, found
            count -= 1
            if not count:
                return


def named(letters: Sequence[Letter], texts: Iterable[str], queue: str) -> list[str]:
    """Return the ids that people mean: each is an id, or as much of its beginning as no other shares.

    Raises:
        LetterNotFound: there is none like this.
        ConfigError: there is more than one.
    """
    ids = [one.id for one in letters]
    return list(dict.fromkeys(_named(ids, text, queue) for text in texts))


def _named(ids: Sequence[str], text: str, queue: str) -> str:
    if text in ids:
        return text
    found = [one for one in ids if text and one.startswith(text)]
    if not found:
        raise LetterNotFound(text[:100], queue)
    if len(found) > 1:
        more = ", ..." if len(found) > _LISTED_COUNT else ""
        raise ConfigError(
            f"more than one begins with {text}: {', '.join(found[:_LISTED_COUNT])}{more}", key="ID"
        )
    return found[0]


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


def row(letter: Letter) -> dict[str, Any]:
    """Return a letter as JSON can carry it."""
    return msgspec.structs.asdict(letter) | {"at": iso(letter.at) if letter.at else None}


def page(letter: Letter, found: Found) -> Iterator[str]:
    """Yield the lines that show everything about a letter; what a stranger wrote is escaped."""
    for name, value in row(letter).items():
        yield _line(name, value)
    for name, value in _given(found).items():
        if name != "headers":
            yield _line(f"property {name}", value)
    for name, value in (found.properties.headers or {}).items():
        yield _line(f"header {name}", value)
    yield "body"
    yield from (f"  {escaped(line)}" for line in body_of(found).split("\n"))


def document(letter: Letter, found: Found) -> str:
    """Return everything about a letter as JSON."""
    shown = row(letter) | {"properties": _given(found), "body": body_of(found)}
    return json.dumps(shown, default=_text_of)


def body_of(found: Found) -> str:
    r"""Return a body as text, cut when it is long; what is no UTF-8 is written as ``\xff``."""
    text = _text_of(found.body[:BODY_BYTES])
    left_count = len(found.body) - BODY_BYTES
    return text if left_count <= 0 else f"{text} [cut: {left_count} more bytes]"


def _given(found: Found) -> dict[str, Any]:
    every = msgspec.structs.asdict(found.properties)
    return {name: value for name, value in every.items() if value is not None}


def _line(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_text_of)
    return escaped(f"{name:<24}  {text}")


def _text_of(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def echo(lines: Iterable[str]) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line)

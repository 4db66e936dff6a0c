"""Dead letters found, shown, sent back and thrown away: for the command line, the API and the pages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from reworker.clock import iso
from reworker.errors import ConfigError, LetterNotFound, LetterStays, PublishNotConfirmed, Unroutable
from reworker.topology.letters import Filter, Letter, letter_of, redriven

if TYPE_CHECKING:
    from reworker.bus.browse import Found, QueueBrowser

#: bytes of a body that are shown unless somebody asks for more.
BODY_BYTES = 4_000
#: letters that an error lists.
_LISTED_COUNT = 5


def walk(browsed: QueueBrowser, limit: int) -> Iterator[tuple[Letter, Found]]:
    """Yield each letter with its message, the oldest first; the second of two that are equal is ``ID.2``."""
    seen: Counter[str] = Counter()
    for found in browsed.messages(limit):
        letter = letter_of(found.properties, found.routing_key, found.body)
        seen[letter.id] += 1
        if seen[letter.id] > 1:
            letter = msgspec.structs.replace(letter, id=f"{letter.id}.{seen[letter.id]}")
        yield letter, found


def listed(
    browsed: QueueBrowser, limit: int, wanted: Filter, is_enough: Callable[[], bool] = lambda: False
) -> tuple[list[Letter], int]:
    """Return the letters that a filter takes, and how many were looked at.

    Args:
        browsed: the queue.
        limit: letters to look at.
        wanted: which are meant.
        is_enough: asked after each; ends the look.
    """
    letters, looked_at = [], 0
    for letter, _ in walk(browsed, limit):
        looked_at += 1
        if wanted.takes(letter):
            letters.append(letter)
        if is_enough():
            break
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


class Return(msgspec.Struct, frozen=True):
    """How a letter is to be sent back.

    Args:
        at: now.
        queue: straight there; empty is where it came from.
        is_forced: also a step whose core has its answer.
        body: in place of its own; None leaves that.
    """

    at: datetime
    queue: str = ""
    is_forced: bool = False
    body: bytes | None = None


def send_back(browsed: QueueBrowser, letter: Letter, found: Found, how: Return) -> None:
    """Publish a letter to where it came from, and take it away once the broker has confirmed that.

    Raises:
        LetterStays: it cannot go back, and lies where it was.
        ConnectionLost: see `QueueBrowser.move`.
    """
    if letter.is_step and not how.is_forced:
        raise LetterStays("a step whose core has its answer", needs="force")
    body = found.body if how.body is None else how.body
    message = redriven(letter, found.properties, body, at=how.at, queue=how.queue)
    if message is None:
        raise LetterStays("it does not say where it came from", needs="queue")
    try:
        browsed.move(found, message)
    except (Unroutable, PublishNotConfirmed) as error:
        raise LetterStays(str(error)) from error


def row(letter: Letter) -> dict[str, Any]:
    """Return a letter as JSON can carry it."""
    return msgspec.structs.asdict(letter) | {"at": iso(letter.at) if letter.at else None}


def given(found: Found) -> dict[str, Any]:
    """Return the properties that a message has, by their AMQP names."""
    every = msgspec.structs.asdict(found.properties)
    return {name: value for name, value in every.items() if value is not None}


def plain_properties(found: Found) -> dict[str, Any]:
    """Return the properties as JSON can carry them: what it has no word for is text."""
    plain: dict[str, Any] = json.loads(json.dumps(given(found), default=text_of))
    return plain


def body_of(found: Found, limit_bytes: int = BODY_BYTES) -> str:
    r"""Return a body as text, cut when it is long; what is no UTF-8 is written as ``\xff``."""
    text = text_of(found.body[:limit_bytes])
    left_count = len(found.body) - limit_bytes
    return text if left_count <= 0 else f"{text} [cut: {left_count} more bytes]"


def text_of(value: Any) -> str:
    """Return what JSON has no word for as text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)

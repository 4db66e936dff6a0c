"""Where the commands on dead letters look: into the queue on a broker, or over the API of a server."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from reworker.cli import letters
from reworker.core import letter_box
from reworker.errors import ConfigError, LetterNotFound, LetterStays
from reworker.topology.letters import Filter, Letter
from reworker.topology.names import DEAD_QUEUE

if TYPE_CHECKING:
    from reworker.bus.browse import Found, QueueBrowser
    from reworker.cli.server_client import ServerClient

#: letters that one answer of a server holds at most, and that one request is about.
PAGE_COUNT, MANY_COUNT = 1000, 200
#: id of a letter -> why it was left; empty when it was not. Filled one by one: it counts after an error.
Results = dict[str, str]
#: what to do about a letter that was left, by what it needs.
_NEEDED = {"": "", "force": ": resume the deployment, or give --force", "queue": ": give --to QUEUE"}


class Look(msgspec.Struct, frozen=True):
    """What was found.

    Args:
        letters: that are meant, the oldest first.
        looked_at: how many were looked at.
        ready: how many are there.
    """

    letters: list[Letter]
    looked_at: int
    ready: int


class View(msgspec.Struct, frozen=True):
    """One letter with what it says; its properties are as JSON can carry them."""

    letter: Letter
    properties: dict[str, Any]
    body: str


class LetterPlace(Protocol):
    """Where dead letters are; one thread."""

    #: its name.
    queue: str

    def look(self, limit: int, wanted: Filter) -> Look:
        """Return the letters that a filter takes, of the `limit` oldest ones."""
        ...

    def view(self, limit: int, letter_id: str) -> View:
        """Return one letter.

        Raises:
            LetterNotFound: it is not there any more.
        """
        ...

    def send_back(self, limit: int, results: Results, how: letter_box.Return) -> None:
        """Send the letters back that `results` has, and note there what became of each."""
        ...

    def drop(self, limit: int, results: Results) -> None:
        """Throw the letters away that `results` has, and note there what became of each."""
        ...


class QueueLetters:
    """The dead letters of a queue, over a connection of our own.

    Args:
        mq: file or URL.
        queue: of the dead letters.
    """

    def __init__(self, mq: str, queue: str) -> None:
        self._mq, self.queue = mq, queue

    def look(self, limit: int, wanted: Filter) -> Look:
        """Look through the queue; see `LetterPlace`."""
        with self._browser() as browsed:
            found, looked_at = letter_box.listed(browsed, limit, wanted)
            return Look(found, looked_at, browsed.ready_count)

    def view(self, limit: int, letter_id: str) -> View:
        """Return one letter; see `LetterPlace`."""
        with self._browser() as browsed:
            for letter, found in letter_box.selected(browsed, limit, (letter_id,), 1):
                return View(letter, letter_box.plain_properties(found), letter_box.body_of(found))
        raise LetterNotFound(letter_id, self.queue)

    def send_back(self, limit: int, results: Results, how: letter_box.Return) -> None:
        """Send letters back; see `LetterPlace`."""

        def send(browsed: QueueBrowser, letter: Letter, found: Found) -> None:
            letter_box.send_back(browsed, letter, found, how)

        self._each(limit, results, send)

    def drop(self, limit: int, results: Results) -> None:
        """Throw letters away; see `LetterPlace`."""
        self._each(limit, results, lambda browsed, _letter, found: browsed.remove(found))

    def _each(
        self, limit: int, results: Results, deed: Callable[[QueueBrowser, Letter, Found], None]
    ) -> None:
        with self._browser() as browsed:
            for letter, found in letter_box.selected(browsed, limit, results, len(results)):
                results[letter.id] = _why_left(partial(deed, browsed, letter, found))

    def _browser(self) -> QueueBrowser:
        return letters.browser(self._mq, self.queue)


class ServerLetters:
    """The dead letters that a server sees.

    Args:
        client: to it.
        why: for its audit.
    """

    queue = DEAD_QUEUE

    def __init__(self, client: ServerClient, why: str) -> None:
        self._client, self._why = client, why

    def look(self, limit: int, wanted: Filter) -> Look:
        """Return what the server sees; see `LetterPlace`. It looks no further than it says in its answer."""
        seen: list[Letter] = []
        cursor, ready = "", 0
        while len(seen) < limit:
            count = min(limit - len(seen), PAGE_COUNT)
            found = self._client.get("/dead-letters", limit=count, cursor=cursor)
            seen += msgspec.convert(found["items"], list[Letter])
            cursor, ready = found["next"], found["ready"]
            if not cursor:
                break
        return Look([one for one in seen if wanted.takes(one)], len(seen), ready)

    def view(self, limit: int, letter_id: str) -> View:
        """Return one letter; see `LetterPlace`."""
        shown = letter_box.BODY_BYTES
        found = self._client.get(f"/dead-letters/{letter_id}", body_bytes=shown)
        return View(msgspec.convert(found["letter"], Letter), found["properties"], found["body"])

    def send_back(self, limit: int, results: Results, how: letter_box.Return) -> None:
        """Send letters back; see `LetterPlace`."""
        self._many(results, "redrive", {"queue": how.queue, "force": how.is_forced})

    def drop(self, limit: int, results: Results) -> None:
        """Throw letters away; see `LetterPlace`."""
        self._many(results, "drop", {})

    def _many(self, results: Results, verb: str, how: dict[str, Any]) -> None:
        """Do something to all, as many at a time as a server takes.

        Of equal letters the second is ``ID.2``, and ``ID`` once the first has gone: a request asks by where
        they stand now.
        """
        left, gone = list(results), Counter[str]()
        while left:
            asked = {_id_now(one, gone): one for one in left[:MANY_COUNT]}
            body = {"ids": list(asked), "reason": self._why, **how}
            answer = self._client.ask("POST", f"/dead-letters/{verb}", body)
            for item in answer["items"]:
                own_id = asked[item["id"]]
                results[own_id] = item["detail"] and f"{item['detail']}{_NEEDED[item['needs']]}"
                gone[own_id.partition(".")[0]] += item["done"]
                left.remove(own_id)
            if not answer["items"]:
                return


def _id_now(own_id: str, gone: Counter[str]) -> str:
    """Return the id of a letter after so many before it, that are equal, have gone."""
    text, _, number = own_id.partition(".")
    place = int(number or 1) - gone[text]
    return text if place <= 1 else f"{text}.{place}"


def _why_left(deed: Callable[[], None]) -> str:
    """Do it; return why it could not be done, or an empty text."""
    try:
        deed()
    except LetterStays as error:
        return f"{error}{_NEEDED[error.needs]}"
    return ""


def place_of(mq: str | None, server: str | None, queue: str, why: str = "") -> LetterPlace:
    """Return where to look.

    Args:
        mq: the broker; None when a server is asked.
        server: its address; None when the broker is.
        queue: of the dead letters.
        why: for the audit of a server.

    Raises:
        ConfigError: a server sees the usual queue alone; or no token is known for it.
    """
    if not server:
        return QueueLetters(mq or "", queue)
    from reworker.cli.server_client import ServerClient
    from reworker.cli.token_store import token_for

    if queue != DEAD_QUEUE:
        raise ConfigError(f"a server sees {DEAD_QUEUE} alone; give --mq for another", key="--dead-queue")
    return ServerLetters(ServerClient(server, token_for(server.rstrip("/"), os.environ)), why)

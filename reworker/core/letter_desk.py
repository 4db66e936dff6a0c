"""Dead letters for people who look over HTTP: within limits, and with no more looks than needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from reworker.clock import Clock
from reworker.config import MqSettings
from reworker.core import letter_box
from reworker.core.errands import Errands, TooSlow
from reworker.errors import LetterNotFound, LetterStays, QueueNotFound, ReworkerError
from reworker.topology.letters import Filter, Letter
from reworker.topology.names import DEAD_QUEUE

if TYPE_CHECKING:
    from reworker.bus.browse import Found, QueueBrowser

T = TypeVar("T")
#: does something with a letter while its queue is looked through.
Deed = Callable[["QueueBrowser", Letter, "Found"], T]
#: why a letter was left; None is that it was done.
Fate = ReworkerError | None
#: is told how something ended.
Note = Callable[[Fate], object]
#: the same of one of many letters, by its id.
NoteEach = Callable[[str, Fate], object]

#: letters that are looked at; seconds that this may take.
LOOKED_AT_COUNT, LOOK_S = 2_000, 4.0
#: letters that one request is about at most; seconds after which no more of them are begun.
MANY_COUNT, MANY_S = 200, 8.0
#: seconds within which a request has its answer; for which what was seen is shown again.
ANSWER_S, KEPT_S = 12.0, 3.0
#: bytes of a body that are shown, and that can be edited.
SHOWN_BYTES = 256 << 10
#: encodings of a body that is text as it is.
_PLAIN = (None, "", "utf-8", "UTF-8", "identity")


class Listing(msgspec.Struct, frozen=True):
    """The dead letters that were seen, the oldest first.

    Args:
        letters: at most `LOOKED_AT_COUNT`.
        ready: how many are there.
        at: when.
    """

    letters: tuple[Letter, ...] = ()
    ready: int = 0
    at: datetime | None = None


class LetterView(msgspec.Struct, frozen=True):
    """One dead letter with what it says.

    Args:
        letter: what it says about itself.
        properties: those that it has, by their AMQP names, headers too.
        body: as text, perhaps cut.
        is_editable: the body is text, and all of it is shown.
    """

    letter: Letter
    properties: dict[str, Any]
    body: str
    is_editable: bool


class LetterDesk:
    """Looks at dead letters, sends them back, throws them away; any thread, one look at a time.

    A look takes all letters out of the queue for a moment, and a quorum queue may count looks. So lists come
    from a look that others have had just now, and nobody looks unless somebody asks.

    Args:
        settings: of the broker.
        clock: for limits.
        queue: of the dead letters.
    """

    def __init__(self, settings: MqSettings, clock: Clock, queue: str = DEAD_QUEUE) -> None:
        self._settings, self._clock, self._queue = settings, clock, queue
        self._errands = Errands()
        self._lock = threading.Lock()
        self._kept: tuple[float, Listing] | None = None

    def listing(self) -> Listing:
        """Return what is there, as it was a few seconds ago at most.

        Raises:
            BusError: the broker is away, or slow.
            ConfigError: we may not look.
        """
        with self._lock:
            kept = self._kept
        if kept is not None and self._clock.mono_s() - kept[0] < KEPT_S:
            return kept[1]
        return self._errands.run(self._look, "looking at the dead letters", ANSWER_S)

    def view(self, letter_id: str, shown_bytes: int = SHOWN_BYTES) -> LetterView:
        """Return one letter, its body cut when it is longer than that.

        Raises:
            LetterNotFound: there is none of this id among those that are looked at.
            BusError, ConfigError: see `listing`.
        """

        def show(_browsed: QueueBrowser, letter: Letter, found: Found) -> LetterView:
            return view_of(letter, found, shown_bytes)

        return self._errands.run(
            lambda: self._with(letter_id, show), f"looking at dead letter {letter_id[:40]!a}", ANSWER_S
        )

    def send_back(self, letter_id: str, how: letter_box.Return, note: Note) -> None:
        """Send one letter back.

        Args:
            letter_id: of it.
            how: where, and with which body.
            note: is told how it ended, also when that is after we gave up waiting.

        Raises:
            LetterStays: it cannot go back.
            LetterNotFound, BusError, ConfigError: see `view`.
        """

        def deed(browsed: QueueBrowser, letter: Letter, found: Found) -> None:
            letter_box.send_back(browsed, letter, found, how)

        self._change(letter_id, deed, note, "sending back")

    def drop(self, letter_id: str, note: Note) -> None:
        """Throw one letter away; see `send_back`."""
        self._change(letter_id, _remove, note, "throwing away")

    def send_back_many(self, ids: Sequence[str], how: letter_box.Return, note: NoteEach) -> dict[str, Fate]:
        """Send letters back with one look through the queue, the oldest first.

        Args:
            ids: of the letters; of equal ones the second is ``ID.2``.
            how: where.
            note: is told how each ended.

        Returns:
            what became of each; without those that there was no time for.

        Raises:
            BusError, ConfigError: see `listing`; what was done before is done, and noted.
        """

        def deed(browsed: QueueBrowser, letter: Letter, found: Found) -> None:
            letter_box.send_back(browsed, letter, found, how)

        return self._change_many(ids, deed, note, "sending back")

    def drop_many(self, ids: Sequence[str], note: NoteEach) -> dict[str, Fate]:
        """Throw letters away; see `send_back_many`."""
        return self._change_many(ids, _remove, note, "throwing away")

    def _change(self, letter_id: str, deed: Deed[None], note: Note, verb: str) -> None:
        def perform() -> None:
            with self._lock:
                self._kept = None
            try:
                self._with(letter_id, deed)
            except ReworkerError as error:
                note(error)
                raise
            note(None)

        try:
            self._errands.run(perform, f"{verb} dead letter {letter_id[:40]!a}", ANSWER_S)
        except TooSlow as error:
            if not error.is_begun:
                note(error)
            raise

    def _change_many(
        self, ids: Sequence[str], deed: Deed[None], note: NoteEach, verb: str
    ) -> dict[str, Fate]:
        def perform() -> dict[str, Fate]:
            with self._lock:
                self._kept = None
            try:
                return self._each(ids, deed, note)
            except QueueNotFound:
                return self._fates(ids, {}, note)

        return self._errands.run(perform, f"{verb} {len(ids)} dead letters", ANSWER_S)

    def _each(self, ids: Sequence[str], deed: Deed[None], note: NoteEach) -> dict[str, Fate]:
        until_mono_s = self._clock.mono_s() + MANY_S
        found_fates: dict[str, Fate] = {}
        with self._browser() as browsed:
            wanted = set(ids)
            for letter, found in letter_box.selected(browsed, LOOKED_AT_COUNT, wanted, len(wanted)):
                if self._clock.mono_s() > until_mono_s:
                    return found_fates
                try:
                    deed(browsed, letter, found)
                    fate: Fate = None
                except LetterStays as error:
                    fate = error
                note(letter.id, fate)
                found_fates[letter.id] = fate
        return self._fates(ids, found_fates, note)

    def _fates(self, ids: Sequence[str], found: dict[str, Fate], note: NoteEach) -> dict[str, Fate]:
        """Return what became of each, in the order of the request; note those that were not there."""
        fates: dict[str, Fate] = {}
        for letter_id in dict.fromkeys(ids):
            if letter_id not in found:
                found[letter_id] = LetterNotFound(letter_id, self._queue)
                note(letter_id, found[letter_id])
            fates[letter_id] = found[letter_id]
        return fates

    def _look(self) -> Listing:
        until_mono_s = self._clock.mono_s() + LOOK_S
        try:
            with self._browser() as browsed:
                letters, _ = letter_box.listed(
                    browsed, LOOKED_AT_COUNT, Filter(), lambda: self._clock.mono_s() > until_mono_s
                )
                found = Listing(tuple(letters), browsed.ready_count, self._clock.now())
        except QueueNotFound:
            found = Listing(at=self._clock.now())
        with self._lock:
            self._kept = (self._clock.mono_s(), found)
        return found

    def _browser(self) -> QueueBrowser:
        from reworker.bus.browse import QueueBrowser  # not above: see `bus_poller.LateWatch`

        return QueueBrowser(self._settings, self._queue)

    def _with(self, letter_id: str, deed: Deed[T]) -> T:
        """Do something with one letter while it is looked at."""
        try:
            with self._browser() as browsed:
                for letter, found in letter_box.selected(browsed, LOOKED_AT_COUNT, (letter_id,), 1):
                    return deed(browsed, letter, found)
        except QueueNotFound as error:
            raise LetterNotFound(letter_id[:100], self._queue) from error
        raise LetterNotFound(letter_id[:100], self._queue)


def _remove(browsed: QueueBrowser, _letter: Letter, found: Found) -> None:
    browsed.remove(found)


def view_of(letter: Letter, found: Found, shown_bytes: int = SHOWN_BYTES) -> LetterView:
    """Return a letter with what it says, and whether its body can be edited as text."""
    try:
        found.body.decode("utf-8")
        is_text = found.properties.content_encoding in _PLAIN
    except UnicodeDecodeError:
        is_text = False
    return LetterView(
        letter,
        letter_box.plain_properties(found),
        letter_box.body_of(found, shown_bytes),
        is_text and len(found.body) <= shown_bytes,
    )

"""The broker for people: queues, workers and dead letters, with who may do what, and the audit of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from reworker.clock import Clock
from reworker.config import MqSettings
from reworker.core.audit import AuditEntry, Outcome, entry_by
from reworker.core.bus_look import BusLook
from reworker.core.bus_poller import BusPoller, LateWatch, Watch
from reworker.core.letter_box import Return
from reworker.core.letter_desk import SHOWN_BYTES, Fate, LetterDesk, LetterView, Listing, NoteEach
from reworker.core.principal import Limits, Principal, Scope
from reworker.core.roll_call import Heard, RollCall, answers_to, order_workers
from reworker.errors import ConfigError, Forbidden, ReworkerError, StorageError, Unroutable
from reworker.storage.contract import Reader
from reworker.topology import names

if TYPE_CHECKING:
    from reworker.bus.connection import PikaBus

logger = logging.getLogger(__name__)

#: seconds to connect for an order to workers, and for the broker to take it.
ORDER_S = 3.0
#: seconds in which workers answer.
PONG_S = 0.7
#: characters of a reason, and of the name of a worker.
REASON_CHARACTERS, NAME_CHARACTERS = 500, 200
#: what people say -> the word of the control message.
ORDERS = {"quiet": "pause", "resume": "resume"}


class BusDesk:
    """Shows the broker, and changes what it may; a context. Any thread.

    Nothing is connected until somebody looks, and while nobody does. To see needs the scope `read`, to change
    `admin`. A dead letter may be of any group, so who may see only some groups sees none of them.

    Args:
        settings: of the broker, with the password that holds.
        reader: of the database.
        clock: for ages and limits.
        note: keeps an entry in the audit.
        management: URL of the broker's management plugin; empty looks for it at its usual port.
        watch: looks at the broker; None makes one.
    """

    def __init__(
        self,
        settings: MqSettings,
        reader: Reader,
        clock: Clock,
        note: Callable[[AuditEntry], None],
        *,
        management: str = "",
        watch: Watch | None = None,
    ) -> None:
        self._settings, self._clock, self._note = settings, clock, note

        def make() -> Watch:
            from reworker.core.bus_watch import BusWatch  # not above: see `LateWatch`

            return BusWatch(settings, reader, clock, management=management)

        watch = watch or LateWatch(make)
        self._poller = BusPoller(watch, clock, BusLook("looking", settings.masked_url()))
        self._letters = LetterDesk(settings, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections. Safe twice."""
        self._poller.close()

    @property
    def is_resting(self) -> bool:
        """Whether nobody looks, and nothing is connected."""
        return self._poller.is_resting

    def look(self, who: Principal) -> BusLook:
        """Return queues and workers, as they were some seconds ago at most; never waits for a broker.

        Raises:
            Forbidden: it may not read.
        """
        who.require(Scope.READ)
        return self._poller.look()

    def letters(self, who: Principal) -> Listing:
        """Return the dead letters.

        Raises:
            Forbidden: it may not see them.
            BusError, ConfigError: see `LetterDesk.listing`.
        """
        self._require_everywhere(who, Scope.READ)
        return self._letters.listing()

    def letter(self, who: Principal, letter_id: str, shown_bytes: int = SHOWN_BYTES) -> LetterView:
        """Return one dead letter with what it says, a long body cut; see `letters`.

        Raises:
            LetterNotFound: there is none of this id.
        """
        self._require_everywhere(who, Scope.READ)
        return self._letters.view(letter_id, shown_bytes)

    def redrive(self, who: Principal, letter_id: str, reason: str, how: Return) -> None:
        """Send one dead letter back; the audit says who did, and why.

        Raises:
            Forbidden: it may not.
            ConfigError: the reason is missing or too long.
            LetterStays, LetterNotFound, BusError: see `LetterDesk.send_back`.
        """
        note = self._admitted(who, "dead_letter.redrive", letter_id, reason)
        self._letters.send_back(letter_id, how, lambda error: note(error, _special(how)))

    def drop(self, who: Principal, letter_id: str, reason: str) -> None:
        """Throw one dead letter away; see `redrive`."""
        self._letters.drop(letter_id, self._admitted(who, "dead_letter.drop", letter_id, reason))

    def redrive_many(self, who: Principal, ids: Sequence[str], reason: str, how: Return) -> dict[str, Fate]:
        """Send dead letters back, and return what became of each; see `LetterDesk.send_back_many`.

        Raises:
            Forbidden, ConfigError: see `redrive`.
            BusError: see `LetterDesk.send_back_many`.
        """
        note = self._noting_each(who, "dead_letter.redrive", ids, reason, _special(how))
        return self._letters.send_back_many(ids, how, note)

    def drop_many(self, who: Principal, ids: Sequence[str], reason: str) -> dict[str, Fate]:
        """Throw dead letters away; see `redrive_many`."""
        return self._letters.drop_many(ids, self._noting_each(who, "dead_letter.drop", ids, reason))

    def _noting_each(
        self, who: Principal, action: str, ids: Sequence[str], reason: str, more: str = ""
    ) -> NoteEach:
        self._admitted(who, action, f"{len(ids)} dead letters", reason)

        def note(letter_id: str, fate: Fate) -> None:
            _Notes(self._note, who, action, letter_id, reason)(fate, more)

        return note

    def order(self, who: Principal, verb: str, name: str, reason: str) -> list[Heard]:
        """Have all processes of a worker take no new work, or take it again; return how they stand then.

        Args:
            who: says so.
            verb: of `ORDERS`.
            name: of the worker type, with or without its ``worker``.
            reason: why, for the audit and the log of the worker.

        Raises:
            Forbidden: it may not.
            ConfigError: name or reason are no such.
            Unroutable: no such worker listens.
            BusError: the broker is away, or slow.
        """
        note = self._admitted(who, f"worker.{verb}", name, reason)
        try:
            _require_name(name)
            with self._connected() as bus:
                signed = f"{reason} ({who.name})"
                order_workers(bus, ORDERS[verb], name, signed, deadline_s=ORDER_S)
                heard = self._asked(bus, name)
        except ReworkerError as error:
            note(error)
            raise
        note(None)
        return heard

    def ping(self, who: Principal, name: str) -> list[Heard]:
        """Ask the processes of a worker how they stand, now.

        Raises:
            Forbidden: it may not.
            ConfigError: it is no name.
            Unroutable: none answers.
            BusError: the broker is away, or slow.
        """
        who.require(Scope.READ)
        _require_name(name)
        with self._connected() as bus:
            heard = self._asked(bus, name)
        if not heard:
            raise Unroutable(names.CONTROL_EXCHANGE, f"{names.PING_KEY} {name}")
        return heard

    @contextmanager
    def _connected(self) -> Iterator[PikaBus]:
        from reworker.bus.connection import PikaBus  # not above: see `LateWatch`

        bus = PikaBus(self._settings, name="reworker web orders", clock=self._clock)
        try:
            bus.open(timeout_s=ORDER_S)
            yield bus
        finally:
            bus.close(deadline_s=1.0)

    def _asked(self, bus: PikaBus, name: str) -> list[Heard]:
        call = RollCall(bus, self._clock)
        call.begin()
        if call.ask(deadline_s=ORDER_S):
            threading.Event().wait(PONG_S)
        return [one for one in call.heard() if answers_to(one.pong.queue, name)]

    def _require_everywhere(self, who: Principal, scope: Scope) -> None:
        who.require(scope)
        if who.limits != Limits():
            raise Forbidden(f"this may concern any group, and the token of {who.name} is not for all")

    def _admitted(self, who: Principal, action: str, target: str, reason: str) -> _Notes:
        """Return what notes how an action ended, once it is clear that it is allowed.

        Raises:
            Forbidden: it is not, which is noted.
            ConfigError: the reason is missing or too long.
        """
        notes = _Notes(self._note, who, action, target, reason)
        try:
            self._require_everywhere(who, Scope.ADMIN)
        except Forbidden as error:
            notes.write(Outcome.DENIED, str(error))
            raise
        if not reason.strip() or len(reason) > REASON_CHARACTERS:
            text = f"say why, in at most {REASON_CHARACTERS} characters; it is kept in the audit"
            raise ConfigError(text, key="reason")
        return notes


class _Notes:
    """Notes how one action of one person ended."""

    def __init__(
        self, note: Callable[[AuditEntry], None], who: Principal, action: str, target: str, reason: str
    ) -> None:
        self._note, self._who = note, who
        self._action, self._target, self._reason = action, target, reason

    def __call__(self, error: ReworkerError | None, more: str = "") -> None:
        outcome = Outcome.DONE if error is None else Outcome.FAILED
        self.write(outcome, f"{self._reason}{more}" + (f": {error}" if error else ""))

    def write(self, outcome: Outcome, detail: str) -> None:
        """Keep it.

        Raises:
            StorageError: it cannot be kept; the log has it then.
        """
        try:
            self._note(entry_by(self._who, self._action, self._target, outcome, detail))
        except StorageError:
            text = "the audit could not be written: %s %s %r by %s: %r"
            logger.error(text, self._action, outcome, self._target[:100], self._who.name, detail[:300])
            raise


def _require_name(name: str) -> None:
    is_name = 0 < len(name) <= NAME_CHARACTERS and name.isprintable() and not set(name) & set(" *#")
    if not is_name or len(name.encode()) > NAME_CHARACTERS:
        raise ConfigError(f"{name[:60]!a} is no name of a worker", key="name")


def _special(how: Return) -> str:
    """Return what is special about a letter that is sent back, for the audit."""
    body = "" if how.body is None else f" (body edited, {len(how.body)} bytes)"
    where = f" (to {how.queue})" if how.queue else ""
    return f"{body}{where} (forced)" if how.is_forced else f"{body}{where}"

"""Deeds of people and programs: allowed or not, and in the audit either way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from reworker.core.access import Access
from reworker.core.audit import Outcome, entry_by
from reworker.core.batch import Applied, Result
from reworker.core.places import may_any
from reworker.core.principal import ANYWHERE, Place, Principal, Scope
from reworker.errors import Forbidden, ReworkerError, StorageError
from reworker.storage.contract import PlaybookRow, Unit

logger = logging.getLogger(__name__)


class Deed:
    """Something that somebody is about to do; made by `Guard.doing`.

    Args:
        access: keeps the audit.
        who: does it.
        action: a word of the API, such as ``deployment.cancel``.
        target: id of what it is done to; empty is what is not there yet.
        why: what who asks says of it; empty is nothing.
    """

    def __init__(self, access: Access, who: Principal, action: str, target: str, why: str = "") -> None:
        self._access, self._who = access, who
        self.action, self.target, self.why = action, target, why
        #: `note` was called.
        self.is_noted = False

    def require(self, scopes: Scope | tuple[Scope, ...], place: Place = ANYWHERE) -> None:
        """Let it pass if one of these scopes is enough there, or keep that it was denied.

        Raises:
            Forbidden: it may not be done.
        """
        scopes = (scopes,) if isinstance(scopes, Scope) else scopes
        if not may_any(self._who, scopes, place):
            self._who.require(scopes[0], place)

    def note(self, unit: Unit, result: str | Result | PlaybookRow) -> None:
        """Keep how it went, in the transaction that does it.

        Args:
            unit: the transaction.
            result: the id of what came to be, or what became of it.
        """
        self.is_noted = True
        target, outcome, detail = self.target, Outcome.DONE, ""
        if isinstance(result, Result):
            outcome = Outcome.DONE if result.applied is Applied.CHANGED else Outcome.FAILED
            detail = result.reason
        elif isinstance(result, PlaybookRow):
            target, detail = result.id, f"version {result.version} of {result.group} / {result.name}"
        else:
            target, detail = result, f"continues {target}" if target else ""
        words = "; ".join(filter(None, (detail, self.why)))
        self._access.note_in(unit, entry_by(self._who, self.action, target, outcome, words))

    def done(self, unit: Unit, detail: str = "") -> None:
        """Keep that it was done to its target, in the transaction that does it."""
        self.is_noted = True
        self._access.note_in(unit, entry_by(self._who, self.action, self.target, Outcome.DONE, detail))

    def keep(self, outcome: Outcome, detail: str) -> None:
        """Keep how it went, in a transaction of its own; a failure to do so changes nothing."""
        try:
            self._access.note(entry_by(self._who, self.action, self.target, outcome, detail))
        except StorageError as error:
            logger.warning(
                "not in the audit, as the database is away: %s %s %s by %s: %s",
                *(self.action, self.target, outcome, self._who.name, error),
            )


class Guard:
    """What one person or program may do; made for each request.

    Args:
        access: keeps the audit.
        who: asks.
    """

    def __init__(self, access: Access, who: Principal) -> None:
        self.access, self.who = access, who

    @contextmanager
    def doing(self, action: str, target: str = "", why: str = "") -> Iterator[Deed]:
        """Keep in the audit that what the block does is denied or fails; `Deed.note` keeps the rest."""
        deed = Deed(self.access, self.who, action, target, why)
        try:
            yield deed
        except Forbidden as error:
            deed.keep(Outcome.DENIED, str(error))
            raise
        except ReworkerError as error:
            deed.keep(Outcome.FAILED, str(error))
            raise

    @contextmanager
    def acting(
        self, action: str, target: str = "", *, scope: Scope | tuple[Scope, ...], place: Place = ANYWHERE
    ) -> Iterator[None]:
        """Let something pass that is not done in the database, and keep in the audit how it went.

        Raises:
            Forbidden: it may not be done; the block did not begin.
        """
        with self.doing(action, target) as deed:
            deed.require(scope, place)
            yield
        deed.keep(Outcome.DONE, "")

    def require(self, scopes: tuple[Scope, ...], place: Place = ANYWHERE) -> None:
        """Let a look pass, if one of these scopes is enough there; looks are not in the audit.

        Raises:
            Forbidden: it may not be seen.
        """
        if not may_any(self.who, scopes, place):
            self.who.require(scopes[0], place)

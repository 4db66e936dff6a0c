"""What a database must do for people: tokens, sessions, the audit, and views they keep; see `contract`."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from reworker.storage.rows import AuditRow, SavedViewRow, SessionRow, TokenRow


class PeopleUnit(Protocol):
    """The part of a writing transaction that is about people."""

    def add_token(self, row: TokenRow) -> None:
        """Store a token."""
        ...

    def revoke_token(self, token_id: str, at: datetime) -> bool:
        """Make a token count no more; tell whether it counted until now."""
        ...

    def touch_token(self, token_id: str, used_at: datetime) -> None:
        """Note when a token was used last; an earlier time changes nothing."""
        ...

    def add_session(self, row: SessionRow) -> None:
        """Store a session or a link."""
        ...

    def take_session(self, digest: str) -> SessionRow | None:
        """Delete a session or link and return it: of several who take it at once, one gets it."""
        ...

    def drop_sessions(
        self, *, token_id: str = "", kind: str = "", name: str = "", expired_at: datetime | None = None
    ) -> int:
        """Delete sessions that fit all that is given; return how many.

        Args:
            token_id: those of this token.
            kind: session or link.
            name: those of this person, who has no token.
            expired_at: those that have expired by then.

        Raises:
            ValueError: nothing is given.
        """
        ...

    def add_audit(self, row: AuditRow) -> None:
        """Store what somebody did, or was not allowed to do."""
        ...

    def drop_audit(self, before: datetime, limit: int) -> int:
        """Delete what was done before, the oldest first, `limit` entries at most; return how many."""
        ...

    def put_saved_view(self, row: SavedViewRow) -> None:
        """Store a view; one of the same owner and name is replaced."""
        ...

    def drop_saved_view(self, owner: str, name: str) -> bool:
        """Delete a view; tell whether it was there."""
        ...


class PeopleReader(Protocol):
    """The reads that are about people."""

    def token_by_digest(self, digest: str) -> TokenRow | None:
        """Return the token of a digest, whether it counts or not."""
        ...

    def token(self, token_id: str) -> TokenRow | None:
        """Return a token by its id, whether it counts or not."""
        ...

    def tokens(self, *, limit: int, before_id: str = "", name: str = "") -> list[TokenRow]:
        """Return tokens, of this name if one is given, newest first; `before_id` ends the page before."""
        ...

    def session(self, digest: str) -> SessionRow | None:
        """Return a session or link."""
        ...

    def person_sessions(self, *, limit: int) -> list[SessionRow]:
        """Return the sessions of people who have no token, newest first, with those that have expired."""
        ...

    def audit(
        self,
        *,
        limit: int,
        before_id: str = "",
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
    ) -> list[AuditRow]:
        """Return what was done, newest first; each word that is given has to be that of the row."""
        ...

    def saved_views(self, owner: str) -> list[SavedViewRow]:
        """Return the views of a person, by name."""
        ...

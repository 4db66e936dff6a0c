"""Who asks: tokens, sessions of browsers, the link of the first start, and the audit of what was asked."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NoReturn

import msgspec

from reworker.clock import Clock
from reworker.core import tokens
from reworker.core.audit import AuditEntry, entry_by
from reworker.core.audit_log import PAGE_COUNT, AuditLog
from reworker.core.database_clock import DatabaseClock
from reworker.core.known import Known, KnownTokens
from reworker.core.persons import Person, PersonSession, row_of_person, session_of, view_of_person
from reworker.core.principal import Limits, Principal, Scope
from reworker.core.tasks import task_tokens
from reworker.core.tokens import TokenView
from reworker.errors import ConfigError, Forbidden, NotAuthenticated, StorageError, TokenNotFound
from reworker.ids import is_id, new_id
from reworker.storage.contract import Storage
from reworker.storage.rows import SessionRow

logger = logging.getLogger(__name__)

#: hours that a browser stays logged in, and that the link of the first start counts.
SESSION_HOURS, LINK_HOURS = 12, 24
#: seconds between two notes of when a token was used last.
TOUCH_S = 60.0
#: name of the token that the link of the first start makes.
FIRST_NAME = "admin"
_SESSION, _LINK = "session", "link"


class FirstLogin(msgspec.Struct, frozen=True):
    """What the link of the first start gives: a token, its text, and the secret of a session."""

    token: TokenView
    text: str
    cookie: str


class Access(AuditLog):
    """Tokens and sessions; any thread, any process. End of life: `close`.

    Args:
        storage: the database.
        clock: of this machine.
        later: does work that nobody waits for; None does it on a thread of its own.
    """

    def __init__(
        self, storage: Storage, clock: Clock, *, later: Callable[[Callable[[], None]], object] | None = None
    ) -> None:
        super().__init__(storage, DatabaseClock(storage, clock))
        self._known = KnownTokens(self._clock, TOUCH_S)
        self._task_tokens = task_tokens.TaskTokens(storage, self._clock)
        self._spare = ThreadPoolExecutor(1, "access") if later is None else None
        self._later = self._spare.submit if self._spare else later

    def create_token(
        self,
        name: str,
        scopes: Iterable[Scope],
        limits: Limits | None = None,
        *,
        expires_at: datetime | None = None,
        actor: str = "",
        by: Principal | None = None,
    ) -> tuple[TokenView, str]:
        """Make a token; return it and its text, ``rw_<id>_<secret>``, which is kept nowhere.

        Args:
            name: in which all is done that is done with it.
            scopes: what it may do.
            limits: where; None is everywhere.
            expires_at: when it ends; None is never.
            actor: who makes it, when that is no token.
            by: who makes it; None is the owner of the database, who may give anything.

        Raises:
            ConfigError: name, scopes, limits or end make no sense.
            Forbidden: it would be worth more than that of its maker.
        """
        limits = limits or Limits()
        tokens.require_grantable(scopes := tuple(scopes), limits, by)
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise ConfigError("the token would have ended already", key="expires_at")
        maker = by.name if by else actor
        name = tokens.checked_name(name)
        view = TokenView(new_id(now), name, tuple(sorted(set(scopes))), limits, maker, now, expires_at)
        text = tokens.token_text(view.id, tokens.new_secret())
        with self._storage.begin() as unit:
            unit.add_token(tokens.row_of(view, text))
            self.note_in(
                unit, _entry(by, actor, "token.create", view.id, f"{name}: {', '.join(view.scopes)}")
            )
        return view, text

    def tokens(self, *, limit: int = 50, before_id: str = "") -> list[TokenView]:
        """Return tokens, newest first, with those that count no more; `before_id` ends the page before."""
        count = min(max(limit, 1), PAGE_COUNT)
        return [tokens.view_of(row) for row in self._storage.reader.tokens(limit=count, before_id=before_id)]

    def token(self, token_id: str) -> TokenView:
        """Return a token.

        Raises:
            TokenNotFound: there is none of this id.
        """
        row = self._storage.reader.token(token_id) if is_id(token_id) else None
        if row is None:
            raise TokenNotFound(token_id)
        return tokens.view_of(row)

    def revoke(self, token_id: str, *, actor: str = "", by: Principal | None = None) -> bool:
        """Make a token and its sessions count no more; tell whether it counted until now.

        Other processes go on with it for `known.KNOWN_S` seconds.

        Raises:
            TokenNotFound: there is none of this id.
        """
        view = self.token(token_id)
        with self._storage.begin() as unit:
            was_good = unit.revoke_token(view.id, self._clock.now())
            unit.drop_sessions(token_id=view.id)
            if was_good:
                self.note_in(unit, _entry(by, actor, "token.revoke", view.id, view.name))
        self._known.forget(token_id=view.id)
        return was_good

    def principal_of(self, text: str, source_ip: str = "") -> Principal:
        """Return who has shown a token; the process of a task has one, too.

        Raises:
            NotAuthenticated: it is none of ours, or counts no more; which of it is not said.
        """
        if text.startswith(task_tokens.PREFIX):
            return self._task_tokens.principal_of(text, source_ip)
        own_id = tokens.id_in(text)
        if not own_id:
            _refuse()
        digest = tokens.digest_of(text)
        found = self._known.get(digest) or self._look_up(digest, own_id)
        return self._admitted(found, source_ip)

    def principal_named(self, name: str, source_ip: str = "") -> Principal:
        """Return who has this name: the newest token of it that counts. For a server before us that we trust.

        Raises:
            NotAuthenticated: no token of this name counts.
        """
        digest = tokens.digest_of(f"name {name}")
        found = self._known.get(digest)
        if found is None:
            at_mono_s, now = self._clock.mono_s(), self._clock.now()
            rows = self._storage.reader.tokens(limit=PAGE_COUNT, name=name)
            views = (view for view in map(tokens.view_of, rows) if view.counts(now))
            first = next(views, None)
            if first is None:
                _refuse()
            found = self._known.put(digest, Known(first), at_mono_s)
        return self._admitted(found, source_ip)

    def _look_up(self, digest: str, own_id: str) -> Known:
        at_mono_s = self._clock.mono_s()
        row = self._storage.reader.token_by_digest(digest)
        if row is None or not hmac.compare_digest(row.digest, digest) or row.id != own_id:
            _refuse()
        return self._known.put(digest, Known(tokens.view_of(row)), at_mono_s)

    def _admitted(self, found: Known, source_ip: str) -> Principal:
        now = self._clock.now()
        if not found.token.counts(now) or (found.ends_at is not None and found.ends_at <= now):
            _refuse()
        has_token = bool(found.token.id)
        if has_token and self._later is not None and self._known.is_to_be_touched(found.token, now):
            self._later(lambda: self._touch(found.token.id, now))
        return found.token.principal(source_ip)

    def _touch(self, token_id: str, now: datetime) -> None:
        """Note when a token was used last; no request fails because that could not be written."""
        try:
            with self._storage.begin() as unit:
                unit.touch_token(token_id, now)
        except StorageError as error:
            logger.debug("the last use of token %s was not noted: %s", token_id, error)

    def open_session(self, text: str, source_ip: str = "") -> str:
        """Log a browser in by a token; return the secret for its cookie, which counts for 12 hours at most.

        Raises:
            NotAuthenticated: see `principal_of`.
        """
        if not tokens.id_in(text):
            _refuse()
        who, now, secret = self.principal_of(text, source_ip), self._clock.now(), tokens.new_secret()
        with self._storage.begin() as unit:
            unit.drop_sessions(expired_at=now)
            unit.add_session(_session(secret, _SESSION, who.token_id, now, SESSION_HOURS))
            self.note_in(unit, entry_by(who, "session.open"))
        return secret

    def open_person_session(self, person: Person, source_ip: str = "") -> str:
        """Log a browser in of somebody whom a provider has let in; return the secret for its cookie.

        Raises:
            Forbidden: the person may do nothing; that is in the audit.
        """
        who, now, secret = person.principal(source_ip), self._clock.now(), tokens.new_secret()
        if not who.scopes:
            reason = (
                f"you are {who.name} here, but no group of yours is given any rights; ask an administrator"
            )
            self.note_denial(who, "session.open", "", f"{person.origin}: no group with rights")
            raise Forbidden(reason)
        with self._storage.begin() as unit:
            unit.drop_sessions(expired_at=now)
            unit.add_session(row_of_person(_session(secret, _SESSION, "", now, SESSION_HOURS), person))
            self.note_in(unit, entry_by(who, "session.open", detail=person.origin))
        return secret

    def person_sessions(self) -> list[PersonSession]:
        """Return the browsers of people without a token that are logged in, newest first."""
        now, rows = self._clock.now(), self._storage.reader.person_sessions(limit=PAGE_COUNT)
        return [session_of(row) for row in rows if row.expires_at > now]

    def drop_person(self, name: str, *, by: Principal) -> int:
        """Log all browsers of a person out; return how many.

        Other processes go on with them for `known.KNOWN_S` seconds.

        Raises:
            ConfigError: no name is given.
        """
        if not name:
            raise ConfigError("is missing: say whose browsers are to be logged out", key="name")
        with self._storage.begin() as unit:
            count = unit.drop_sessions(name=name)
            self.note_in(unit, entry_by(by, "session.revoke", name, detail=f"{count} sessions"))
        self._known.forget_name(name)
        return count

    def principal_of_session(self, secret: str, source_ip: str = "") -> Principal:
        """Return who has logged in; the session ends with its token.

        Raises:
            NotAuthenticated: see `principal_of`.
        """
        if not tokens.is_secret(secret):
            _refuse()
        digest = tokens.digest_of(secret)
        found = self._known.get(digest)
        if found is None:
            at_mono_s, reader = self._clock.mono_s(), self._storage.reader
            session = reader.session(digest)
            if session is None or session.kind != _SESSION:
                _refuse()
            found = self._known.put(digest, self._behind(session), at_mono_s)
        return self._admitted(found, source_ip)

    def _behind(self, session: SessionRow) -> Known:
        """Return whose rights a session has: those of its token, or of its person."""
        if session.name and not session.token_id:
            return Known(view_of_person(session), session.expires_at)
        row = self._storage.reader.token(session.token_id)
        if row is None:
            _refuse()
        return Known(tokens.view_of(row), session.expires_at)

    def close_session(self, secret: str) -> None:
        """Log a browser out; a secret that counts no more is no error."""
        if not tokens.is_secret(secret):
            return
        digest = tokens.digest_of(secret)
        with self._storage.begin() as unit:
            unit.take_session(digest)
        self._known.forget(digest=digest)

    def first_link(self) -> str | None:
        """Return the secret of a link that makes the first admin token, once; None when there is one.

        Links that were given out before count no more.
        """
        if self._has_admin():
            return None
        now, secret = self._clock.now(), tokens.new_secret()
        with self._storage.begin() as unit:
            unit.drop_sessions(kind=_LINK)
            unit.add_session(_session(secret, _LINK, "", now, LINK_HOURS))
        return secret

    def use_link(self, secret: str, source_ip: str = "") -> FirstLogin:
        """Make the first admin token, and log the browser in with it.

        Raises:
            NotAuthenticated: the link is unknown, was used, has expired, or there is an admin token by now.
        """
        if not tokens.is_secret(secret) or self._has_admin():
            _refuse()
        now, cookie = self._clock.now(), tokens.new_secret()
        view = TokenView(new_id(now), FIRST_NAME, (Scope.ADMIN,), Limits(), "first link", now)
        text = tokens.token_text(view.id, tokens.new_secret())
        with self._storage.begin() as unit:
            link = unit.take_session(tokens.digest_of(secret))
            if link is None or link.kind != _LINK or link.expires_at <= now:
                _refuse()
            unit.add_token(tokens.row_of(view, text))
            unit.add_session(_session(cookie, _SESSION, view.id, now, SESSION_HOURS))
            self.note_in(unit, entry_by(view.principal(source_ip), "link.use", view.id))
        return FirstLogin(view, text, cookie)

    def _has_admin(self) -> bool:
        now, before_id = self._clock.now(), ""
        while page := self.tokens(limit=PAGE_COUNT, before_id=before_id):
            if any(Scope.ADMIN in one.scopes and one.counts(now) for one in page):
                return True
            before_id = page[-1].id
        return False

    def close(self) -> None:
        """End the thread that notes when tokens were used. Safe twice."""
        self._later = None
        if self._spare is not None:
            self._spare.shutdown()


def _refuse() -> NoReturn:
    """Refuse whoever asks, always with the same words."""
    raise NotAuthenticated("the token is unknown, has expired or was revoked; ask for a new one")


def _session(secret: str, kind: str, token_id: str, now: datetime, hours: int) -> SessionRow:
    return SessionRow(tokens.digest_of(secret), kind, token_id, now, now + timedelta(hours=hours))


def _entry(by: Principal | None, actor: str, action: str, target: str, detail: str) -> AuditEntry:
    if by is not None:
        return entry_by(by, action, target, detail=detail)
    return AuditEntry(action, target, detail=detail, actor=actor)

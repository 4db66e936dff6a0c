"""Tokens and the audit, for those who may see and change them: the admins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from reworker.core.access import Access
from reworker.core.guard import Guard
from reworker.core.persons import PersonSession
from reworker.core.principal import Limits, Scope
from reworker.core.tokens import TokenView, require_grantable
from reworker.errors import ConfigError, Forbidden
from reworker.ids import is_id
from reworker.storage.rows import AuditRow


class GuardedTokens:
    """Tokens and the audit; see `Access`, whose methods raise `Forbidden` besides."""

    def __init__(self, access: Access, guard: Guard) -> None:
        self._access, self._guard = access, guard

    def create(
        self,
        name: str,
        scopes: Iterable[Scope],
        limits: Limits | None = None,
        *,
        expires_at: datetime | None = None,
    ) -> tuple[TokenView, str]:
        """Make a token that may do no more than its maker; return it and its text, which is kept nowhere."""
        with self._guard.doing("token.create") as deed:
            deed.require(Scope.ADMIN)
            who = self._guard.who
            return self._access.create_token(name, scopes, limits, expires_at=expires_at, by=who)

    def tokens(self, *, limit: int = 50, before_id: str = "") -> list[TokenView]:
        """Return tokens, newest first, with those that count no more.

        Whose own token has limits sees those that it could make: the others are of other groups.
        """
        self._require(before_id)
        found: list[TokenView] = []
        for view in self._every_token(limit, before_id):
            if self._is_ours(view.scopes, view.limits):
                found.append(view)
            if len(found) == limit:
                break
        return found

    def _every_token(self, limit: int, before_id: str) -> Iterator[TokenView]:
        while page := self._access.tokens(limit=limit, before_id=before_id):
            yield from page
            before_id = page[-1].id

    def _is_ours(self, scopes: Iterable[Scope], limits: Limits) -> bool:
        try:
            require_grantable(scopes, limits, self._guard.who)
        except (Forbidden, ConfigError):
            return self._guard.who.limits == Limits()
        return True

    def revoke(self, token_id: str) -> bool:
        """Make a token count no more that its maker could have made; tell whether it counted until now."""
        with self._guard.doing("token.revoke", token_id) as deed:
            deed.require(Scope.ADMIN)
            view = self._access.token(token_id)
            require_grantable(view.scopes, view.limits, self._guard.who)
            return self._access.revoke(token_id, by=self._guard.who)

    def persons(self) -> list[PersonSession]:
        """Return the browsers of people without a token that are logged in, newest first; see `tokens`."""
        self._guard.require((Scope.ADMIN,))
        every = self._access.person_sessions()
        return [one for one in every if self._is_ours(one.person.scopes, one.person.limits)]

    def drop_person(self, name: str) -> int:
        """Log all browsers of a person without a token out; return how many."""
        with self._guard.doing("session.revoke", name) as deed:
            deed.require(Scope.ADMIN)
            for one in self._access.person_sessions():
                if one.person.name == name:
                    require_grantable(one.person.scopes, one.person.limits, self._guard.who)
            return self._access.drop_person(name, by=self._guard.who)

    def audit(
        self,
        *,
        limit: int = 50,
        before_id: str = "",
        actor: str = "",
        action: str = "",
        target: str = "",
        outcome: str = "",
    ) -> list[AuditRow]:
        """Return what was asked for, newest first."""
        self._require(before_id)
        who = self._guard.who
        if who.limits != Limits():
            raise Forbidden(f"the audit is of all groups, and the token of {who.name} is not for all")
        words = {"actor": actor, "action": action, "target": target, "outcome": outcome}
        return self._access.audit(limit=limit, before_id=before_id, **words)

    def _require(self, before_id: str) -> None:
        self._guard.require((Scope.ADMIN,))
        if before_id and not is_id(before_id):
            raise ConfigError(f"is the id of the last one before, found {before_id[:60]!a}", key="before_id")

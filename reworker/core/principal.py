"""Who asks, and for what: scopes of tokens, and the groups, environments and hosts they are for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from reworker.errors import Forbidden


class Scope(StrEnum):
    """What a token may be used for."""

    READ = "read"
    RUN = "run"
    APPROVE = "approve"
    CANCEL = "cancel"
    PLAYBOOK_WRITE = "playbook:write"
    WORKER = "worker"
    ADMIN = "admin"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a token may be used: patterns of the shell (``web-*``); an empty list limits nothing."""

    groups: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True):
    """Where something is or is to be done, as far as it matters for who may: None of a part is anywhere."""

    group: str | None = None
    environment: str | None = None
    hosts: tuple[str, ...] = ()


#: what concerns no group in particular, such as the list of workers.
ANYWHERE = Place()


class Principal(msgspec.Struct, frozen=True):
    """A person or program that has shown a token.

    Args:
        token_id: of the token.
        name: in which all is done; two tokens of one name are one person.
        scopes: what it may do; `Scope.ADMIN` may do all.
        limits: where.
        source_ip: of the client, for the audit.
    """

    token_id: str
    name: str
    scopes: frozenset[Scope]
    limits: Limits = Limits()
    source_ip: str = ""

    def may(self, scope: Scope, place: Place = ANYWHERE) -> bool:
        """Tell whether it may do this there."""
        return not self.refusal(scope, place)

    def require(self, scope: Scope, place: Place = ANYWHERE) -> None:
        """Let it pass, or not.

        Raises:
            Forbidden: it may not do this, or not there.
        """
        reason = self.refusal(scope, place)
        if reason:
            raise Forbidden(reason)

    def refusal(self, scope: Scope, place: Place = ANYWHERE) -> str:
        """Return why it may not do this there; empty when it may."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            return f"this needs the scope {scope}; the token of {self.name} has {self._words()}"
        limits = self.limits
        if place.group is not None and not _fits(place.group, limits.groups):
            return f"the token of {self.name} is not for the group {place.group!r}"
        if place.environment is not None and not _fits(place.environment, limits.environments):
            where = f"the environment {place.environment!r}" if place.environment else "no environment"
            return f"the token of {self.name} is not for {where}"
        for host in place.hosts:
            if not _fits(host, limits.hosts):
                return f"the token of {self.name} is not for the host {host!r}"
        return ""

    def _words(self) -> str:
        return ", ".join(sorted(self.scopes)) or "none"


def _fits(value: str, patterns: Iterable[str]) -> bool:
    """Tell whether a value is one of those that patterns stand for; case counts."""
    patterns = tuple(patterns)
    return not patterns or any(fnmatchcase(value, one) for one in patterns)

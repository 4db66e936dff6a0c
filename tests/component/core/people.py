"""Somebody with a token, who asks the core, and what the audit keeps of it."""

from __future__ import annotations

import json

from reworker.core.access import Access
from reworker.core.guarded import GuardedService
from reworker.core.principal import Limits, Principal, Scope
from reworker.storage.rows import AuditRow
from tests.component.core.kit import World, playbook

#: all but the one that may do everything.
ALL = tuple(one for one in Scope if one is not Scope.ADMIN)


class People:
    """Somebody with a token, as often as asked; and the audit."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.access = Access(world.storage, world.clock, later=lambda work: work())

    def who(
        self, *scopes: Scope, name: str = "ann", limits: Limits | None = None, source_ip: str = "::1"
    ) -> GuardedService:
        """Return what somebody with these scopes may ask."""
        who = Principal("1" * 24, name, frozenset(scopes), limits or Limits(), source_ip)
        return GuardedService(self._world.core.service, self.access, who)

    def audit(self) -> list[AuditRow]:
        """Return all that was kept, oldest first."""
        return self.access.audit()[::-1]

    def kept(self) -> list[tuple[str, str]]:
        """Return what was kept in short."""
        return [(one.action, one.outcome) for one in self.audit()]


def text(*, group: str = "web", environment: str = "", hosts: tuple[str, ...] = ("web1",)) -> str:
    whole = json.loads(playbook(hosts=hosts))
    return json.dumps({**whole, "group": group, **({"environment": environment} if environment else {})})

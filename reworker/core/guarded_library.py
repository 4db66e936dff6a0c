"""Stored playbooks as far as somebody with a token may read and change them.

A playbook belongs to a group, by which it is allowed or not. Where it runs is asked when somebody runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reworker.core.guard import Guard
from reworker.core.library import Library
from reworker.core.places import may_any, place_of
from reworker.core.principal import Place, Scope
from reworker.core.submission import Draft
from reworker.errors import PlaybookNotFound
from reworker.fsm.domains import ByCommand
from reworker.fsm.parsing import parse
from reworker.ids import is_id
from reworker.storage.contract import PlaybookRow

#: who may run or change a playbook may read it.
SEEING = (Scope.READ, Scope.RUN, Scope.PLAYBOOK_WRITE)
#: who has texts of their own.
WRITING = (Scope.RUN, Scope.PLAYBOOK_WRITE)


class GuardedLibrary:
    """Stored playbooks; see `Library`, whose methods raise `Forbidden` besides."""

    def __init__(self, library: Library, guard: Guard) -> None:
        self._library, self._guard = library, guard

    def playbook(self, playbook_id: str, version: int = 0) -> PlaybookRow:
        """Return a version of a playbook; 0 is the newest."""
        _require_id(playbook_id)
        row = self._library.playbook(playbook_id, version)
        self._guard.require(SEEING, Place(row.group))
        return row

    def playbooks(self, *, group: str = "") -> list[PlaybookRow]:
        """Return the newest version of each playbook that may be read, the newest first."""
        who = self._guard.who
        if not any(one in who.scopes for one in (*SEEING, Scope.ADMIN)):
            who.require(Scope.READ)
        return [row for row in self._library.playbooks(group=group) if may_any(who, SEEING, Place(row.group))]

    def store(self, text: str, *, playbook_id: str = "", base_version: int = 0) -> PlaybookRow:
        """Store a playbook, or a new version of one, whose group must be allowed before and after."""
        with self._guard.doing("playbook.store", playbook_id) as deed:
            deed.require(Scope.PLAYBOOK_WRITE)
            if playbook_id:
                _require_id(playbook_id)
                deed.require(Scope.PLAYBOOK_WRITE, Place(self._library.playbook(playbook_id).group))
            deed.require(Scope.PLAYBOOK_WRITE, Place(parse(text, source="playbook").group))
            actor = self._guard.who.name
            return self._library.store(
                text, actor=actor, playbook_id=playbook_id, base_version=base_version, note=deed.note
            )

    def remove(self, playbook_id: str) -> None:
        """Remove a playbook; its deployments go on."""
        with self._guard.doing("playbook.remove", playbook_id) as deed:
            deed.require(Scope.PLAYBOOK_WRITE)
            _require_id(playbook_id)
            deed.require(Scope.PLAYBOOK_WRITE, Place(self._library.playbook(playbook_id).group))
            self._library.remove(playbook_id, actor=self._guard.who.name, note=deed.note)

    def draft(self, text: str, dynamic: Mapping[str, Any], source: str) -> Draft:
        """Return the plan of any text with the rules of the database; starts nothing.

        Who may write or run it may see that: by texts of one's own, all that the operator adds can be found
        out. Others see what is added to stored playbooks, and to deployments.
        """
        self._guard.require(WRITING)
        draft = self._library.draft(text, dynamic, source)
        if not may_any(self._guard.who, (Scope.PLAYBOOK_WRITE,), Place(draft.plan.group)):
            self._guard.require((Scope.RUN,), place_of(draft.plan))
        return draft

    def draft_of(
        self, row: PlaybookRow, dynamic: Mapping[str, Any], source: str, domains: ByCommand | None = None
    ) -> Draft:
        """Return the plan of a stored playbook with the rules of the database; starts nothing."""
        self._guard.require(SEEING, Place(row.group))
        return self._library.draft(row.text, dynamic, source, domains)


def _require_id(playbook_id: str) -> None:
    if not is_id(playbook_id):
        raise PlaybookNotFound(playbook_id)

"""Keeping and reading the audit: what people and programs asked for, and how it went."""

from __future__ import annotations

from reworker.clock import Clock
from reworker.core.audit import AuditEntry, Outcome, audit_row, entry_by
from reworker.core.principal import Principal
from reworker.storage.contract import Storage, Unit
from reworker.storage.rows import AuditRow

#: rows that one call returns at most.
PAGE_COUNT = 1000


class AuditLog:
    """The audit in the database; any thread, any process."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def note(self, entry: AuditEntry) -> None:
        """Keep what was asked for in the audit, in a transaction of its own."""
        with self._storage.begin() as unit:
            self.note_in(unit, entry)

    def note_in(self, unit: Unit, entry: AuditEntry) -> None:
        """Keep it in the transaction that does it, so that there is never one without the other."""
        unit.add_audit(audit_row(entry, self._clock.now()))

    def note_denial(self, who: Principal, action: str, target: str, reason: str) -> None:
        """Keep that somebody was not allowed to do something."""
        self.note(entry_by(who, action, target, Outcome.DENIED, reason))

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
        """Return what was asked for, newest first; see `storage.people_contract.PeopleReader.audit`."""
        words = {"actor": actor, "action": action, "target": target, "outcome": outcome}
        count = min(max(limit, 1), PAGE_COUNT)
        return self._storage.reader.audit(limit=count, before_id=before_id, **words)

"""Definitions of task types, which workers that poll bring along; what they say is read elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from reworker.clock import Clock
from reworker.core.audit import Outcome
from reworker.core.database_clock import DatabaseClock
from reworker.core.guard import Deed, Guard
from reworker.core.principal import Scope
from reworker.errors import ConfigError
from reworker.storage.contract import Storage
from reworker.storage.definition_contract import DefinitionRow

#: bytes of one definition, and how many a database keeps: what is more comes from somebody who tries things.
DOCUMENT_BYTES, DEFINITION_COUNT = 64 << 10, 2000


class Definitions:
    """The stored definitions; any thread, any process.

    Args:
        storage: the database.
        clock: of this machine.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, DatabaseClock(storage, clock)

    def all(self) -> list[DefinitionRow]:
        """Return all definitions, by name."""
        return self._storage.reader.definitions()

    def named(self, name: str) -> DefinitionRow | None:
        """Return a definition."""
        return self._storage.reader.definition(name)

    def put(self, documents: Sequence[tuple[str, bytes]], guard: Guard) -> list[DefinitionRow]:
        """Store definitions, in place of those of the same names, and keep in the audit who did it.

        Args:
            documents: of each, its name and its JSON.
            guard: of who asks.

        Raises:
            Forbidden: who asks may not.
            ConfigError: one is too large, or there are too many.
        """
        with guard.doing("definition.put", ", ".join(name for name, _ in documents)[:200]) as deed:
            deed.require(Scope.WORKER)
            self._require_room(documents)
            now = self._clock.now()
            rows = [DefinitionRow(name, text, guard.who.name, now, now) for name, text in documents]
            changed = [row for row in rows if not self._is_there(row)]
            if changed:
                self._save(changed, deed)
            return rows

    def _save(self, rows: Sequence[DefinitionRow], deed: Deed) -> None:
        with self._storage.begin() as unit:
            # in one order, so that no two who bring several wait for each other
            for row in sorted(rows, key=lambda one: one.name):
                unit.put_definition(row)
            deed.done(unit)

    def _is_there(self, row: DefinitionRow) -> bool:
        """Tell whether nothing would change: workers bring their definitions along at every start."""
        found = self.named(row.name)
        return found is not None and found.document == row.document

    def _require_room(self, documents: Sequence[tuple[str, bytes]]) -> None:
        for name, text in documents:
            if len(text) > DOCUMENT_BYTES:
                reason = f"the definition of {name[:60]!a} has more than {DOCUMENT_BYTES} bytes"
                raise ConfigError(reason, key="definition")
        names = {row.name for row in self.all()} | {name for name, _ in documents}
        if len(names) > DEFINITION_COUNT:
            raise ConfigError(
                f"{DEFINITION_COUNT} definitions are kept, which is the limit", key="definition"
            )

    def drop(self, name: str, guard: Guard) -> bool:
        """Remove a definition; tell whether it was there.

        Raises:
            Forbidden: who asks may not.
        """
        with guard.doing("definition.drop", name) as deed:
            deed.require(Scope.WORKER)
            with self._storage.begin() as unit:
                was_there = unit.drop_definition(name)
                if was_there:
                    deed.done(unit)
            if not was_there:
                deed.keep(Outcome.FAILED, "there was none of this name")
            return was_there

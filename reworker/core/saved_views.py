"""Questions about deployments that people ask again and again, each under a name of theirs."""

from __future__ import annotations

from collections.abc import Callable

from reworker.clock import Clock
from reworker.errors import ConfigError
from reworker.storage.contract import Storage, Unit
from reworker.storage.rows import SavedViewRow

#: characters of a name and of a query; views that one person keeps.
NAME_CHARACTERS, QUERY_CHARACTERS, VIEW_COUNT = 60, 2000, 50


#: done in the transaction that changes a view.
Note = Callable[[Unit], None]


class SavedViews:
    """The views of people, by the names in their tokens; any thread, any process."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def of(self, owner: str) -> list[SavedViewRow]:
        """Return the views of a person, by name."""
        return self._storage.reader.saved_views(owner)

    def keep(self, owner: str, name: str, query: str, note: Note) -> SavedViewRow:
        """Keep a view, in place of one of the same name.

        Args:
            owner: the name in a token.
            name: for people.
            query: as behind the ``?`` of an address.
            note: keeps who did it.

        Raises:
            ConfigError: the name or the query is none, or the person has too many.
        """
        name = name.strip()
        if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
            reason = f"takes 1 to {NAME_CHARACTERS} characters that can be seen, found {name[:60]!a}"
            raise ConfigError(reason, key="name")
        if len(query) > QUERY_CHARACTERS or not (query.isascii() and query.isprintable()):
            reason = f"takes at most {QUERY_CHARACTERS} characters of an address"
            raise ConfigError(reason, key="query")
        row = SavedViewRow(owner, name, query, self._clock.now())
        before = self.of(owner)
        if len(before) >= VIEW_COUNT and all(one.name != name for one in before):
            raise ConfigError(f"{VIEW_COUNT} views are kept already, which is the limit", key="name")
        with self._storage.begin() as unit:
            unit.put_saved_view(row)
            note(unit)
        return row

    def drop(self, owner: str, name: str, note: Note) -> bool:
        """Remove a view; tell whether it was there. It is noted only then."""
        with self._storage.begin() as unit:
            was_there = unit.drop_saved_view(owner, name)
            if was_there:
                note(unit)
            return was_there

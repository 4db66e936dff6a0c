"""Saved views of one person, kept and removed; writes are in the audit."""

from __future__ import annotations

from reworker.core.audit import Outcome
from reworker.core.guard import Guard
from reworker.core.places import SEEING
from reworker.core.saved_views import SavedViews
from reworker.storage.rows import SavedViewRow


class GuardedViews:
    """The views of who asks; see `SavedViews`, whose methods raise `Forbidden` besides."""

    def __init__(self, views: SavedViews, guard: Guard) -> None:
        self._views, self._guard = views, guard

    def all(self) -> list[SavedViewRow]:
        """Return the views of who asks, by name."""
        self._guard.require(SEEING)
        return self._views.of(self._guard.who.name)

    def keep(self, name: str, query: str) -> SavedViewRow:
        """Keep a view, in place of one of the same name; see `SavedViews.keep`."""
        with self._guard.doing("view.keep", name) as deed:
            deed.require(SEEING)
            return self._views.keep(self._guard.who.name, name, query, lambda unit: deed.done(unit, query))

    def drop(self, name: str) -> bool:
        """Remove a view; tell whether it was there."""
        with self._guard.doing("view.drop", name) as deed:
            deed.require(SEEING)
            was_there = self._views.drop(self._guard.who.name, name, deed.done)
            if not was_there:
                deed.keep(Outcome.FAILED, "there was none of this name")
            return was_there

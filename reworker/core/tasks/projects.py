"""Projects: what codes, tasks and schedules belong to; each is the group of its deployments."""

from __future__ import annotations

from collections.abc import Callable

from reworker.clock import Clock
from reworker.errors import StorageError, StorageUnavailable
from reworker.ids import new_id
from reworker.storage.contract import Storage, Unit
from reworker.storage.task_rows import ProjectRow
from reworker.task_errors import TaskRefused, ThingNotFound

#: characters of a name.
NAME_CHARACTERS = 100
#: the project that is there without being made.
DEFAULT_NAME = "default"

#: done in the transaction that makes a project.
Note = Callable[[Unit, ProjectRow], None]


def _nothing(_unit: Unit, _row: ProjectRow) -> None:
    return None


class Projects:
    """Finds and makes projects; any thread, any process."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    def find(self, key: str) -> ProjectRow:
        """Return the project of an id or name; the default one is made when it is asked for.

        Raises:
            ThingNotFound: there is none.
        """
        found = self._storage.reader.project(key) if key else None
        if found is None and key == DEFAULT_NAME:
            return self.add(DEFAULT_NAME)
        if found is None:
            raise ThingNotFound("project", key)
        return found

    def all(self, *, limit: int = 100, offset: int = 0) -> list[ProjectRow]:
        """Return projects, by name."""
        return self._storage.reader.projects(limit=limit, offset=offset)

    def add(self, name: str, *, actor: str = "", note: Note = _nothing) -> ProjectRow:
        """Make a project; one of this name that is there already is returned as it is.

        Raises:
            TaskRefused: the name is empty, too long, or holds control characters.
        """
        if not name.strip() or len(name) > NAME_CHARACTERS or not name.isprintable():
            raise TaskRefused(f"give 1 to {NAME_CHARACTERS} printable characters", field="name")
        found = self._storage.reader.project(name)
        if found is not None and found.name == name:
            return found
        now = self._clock.now()
        row = ProjectRow(new_id(now), name, actor, now)
        try:
            with self._storage.begin() as unit:
                unit.add_project(row)
                note(unit, row)
        except StorageUnavailable:
            raise
        except StorageError:  # somebody else has just made it
            found = self._storage.reader.project(name)
            if found is None:
                raise
            return found
        return row

"""Who may do what to codes, tasks and schedules: it goes by the project, which is a group of deployments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from reworker.core.batch import Applied, Result
from reworker.core.guard import Deed, Guard
from reworker.core.places import may_any
from reworker.core.principal import Place, Scope
from reworker.core.service import Service
from reworker.errors import Forbidden
from reworker.storage.contract import Unit
from reworker.storage.task_rows import ProjectRow
from reworker.task_errors import ThingNotFound

#: who may do something in a project may see what is in it.
SEEING = (Scope.READ, Scope.RUN, Scope.CANCEL, Scope.PLAYBOOK_WRITE, Scope.WORKER)
#: projects that are read at once.
PAGE_COUNT = 200


class OfProject(Protocol):
    """A row that belongs to a project."""

    @property
    def id(self) -> str:
        """Its own; ids grow with time."""
        ...

    @property
    def project_id(self) -> str:
        """Of the project."""
        ...


Row = TypeVar("Row", bound=OfProject)

#: returns rows of a project, or of all, from an offset on: (project, limit, offset).
Fetch = Callable[[ProjectRow | None, int, int], list[Row]]


class Rights:
    """What one person or program may do in projects; made for each request."""

    def __init__(self, service: Service, guard: Guard) -> None:
        self._service, self.guard, self.who = service, guard, guard.who
        self._projects: dict[str, ProjectRow] = {}

    def project(self, project_id: str) -> ProjectRow:
        """Return the project of a row.

        Raises:
            ThingNotFound: there is none.
        """
        if project_id not in self._projects:
            self._projects[project_id] = self._service.projects.find(project_id)
        return self._projects[project_id]

    def may_see(self, project: ProjectRow) -> bool:
        """Tell whether what is in a project may be seen."""
        return may_any(self.who, SEEING, Place(project.name))

    def require_seen(self, project: ProjectRow, key: str = "") -> None:
        """Let a look pass; a refusal calls the project by the key that was given, not by its name.

        Raises:
            Forbidden: it may not be seen.
        """
        self.guard.require(SEEING)
        if not self.may_see(project):
            shown = key or project.id
            raise Forbidden(f"the token of {self.who.name} is not for the project {shown[:100]!a}")

    def require(self, deed: Deed, scopes: Scope | tuple[Scope, ...], project: ProjectRow) -> None:
        """Let a deed in a project pass.

        Raises:
            Forbidden: it may not be done, or not there.
        """
        deed.require(scopes)
        self.require_seen(project)
        deed.require(scopes, Place(project.name))

    def page(self, project: ProjectRow | None, limit: int, offset: int, fetch: Fetch[Row]) -> list[Row]:
        """Return a page of rows, newest first: those of a project, or of all projects that may be seen."""
        if project is not None:
            self.require_seen(project)
            return fetch(project, limit, offset)
        self.guard.require(SEEING)
        if not self.who.limits.groups:
            return fetch(None, limit, offset)
        # by project, for there may be a million rows of others between two of these
        found = [row for one in self.seen_projects() for row in fetch(one, offset + limit, 0)]
        found.sort(key=lambda row: row.id, reverse=True)
        return found[offset : offset + limit]

    def projects_of(self, project: ProjectRow | None) -> Iterator[ProjectRow | None]:
        """Yield the project that was named; else all that may be seen: None stands for all at once."""
        self.guard.require(SEEING)
        if project is not None:
            self.require_seen(project)
            yield project
        elif self.who.limits.groups:
            yield from self.seen_projects()
        else:
            yield None

    def seen_projects(self) -> Iterator[ProjectRow]:
        """Yield the projects that may be seen, by name."""
        self.guard.require(SEEING)
        offset = 0
        while rows := self._service.projects.all(limit=PAGE_COUNT, offset=offset):
            yield from filter(self.may_see, rows)
            offset += len(rows)

    def of_project(self, row: Row, project: ProjectRow | None, kind: str, row_id: str) -> ProjectRow:
        """Return the project of a row, once it may be seen.

        Raises:
            ThingNotFound: it is of another project than the one that was named.
            Forbidden: it may not be seen.
        """
        if project is not None and row.project_id != project.id:
            raise ThingNotFound(kind, row_id)
        found = self.project(row.project_id)
        self.require_seen(found)
        return found


def keep(deed: Deed, unit: Unit, target: str, detail: str = "") -> None:
    """Keep in the audit what was done to a thing, in the transaction that does it."""
    deed.target = target
    deed.note(unit, Result(Applied.CHANGED, detail))

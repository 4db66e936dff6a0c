"""Projects, codes, tasks and schedules as far as somebody with a token may use them; writes are audited."""

from __future__ import annotations

from itertools import islice

from reworker.core.access import Access
from reworker.core.guard import Guard
from reworker.core.principal import Place, Principal, Scope
from reworker.core.service import Service
from reworker.core.tasks.guarded_codes import GuardedCodes
from reworker.core.tasks.guarded_queue import GuardedQueue
from reworker.core.tasks.guarded_schedules import GuardedSchedules
from reworker.core.tasks.rights import SEEING, Rights, keep
from reworker.storage.task_rows import ProjectRow


class GuardedTasks:
    """What one person or program asks of codes and tasks; made for each request, any thread.

    Args:
        service: does it.
        access: keeps the audit.
        who: asks.
    """

    def __init__(self, service: Service, access: Access, who: Principal) -> None:
        self.who, self.guard = who, Guard(access, who)
        self.rights = Rights(service, self.guard)
        self.projects = GuardedProjects(service, self.rights)
        self.codes = GuardedCodes(service, self.rights)
        self.tasks = GuardedQueue(service, self.rights)
        self.schedules = GuardedSchedules(service, self.rights)


class GuardedProjects:
    """Projects; see `Projects`, whose methods raise `Forbidden` besides."""

    def __init__(self, service: Service, rights: Rights) -> None:
        self._projects, self._rights = service.projects, rights

    def find(self, key: str) -> ProjectRow:
        """Return the project of an id or name; see `Projects.find`."""
        self._rights.guard.require(SEEING)
        found = self._projects.find(key)
        self._rights.require_seen(found, key)
        return found

    def to_write(self, key: str, action: str) -> ProjectRow:
        """Return the project that something is to be done in; that it may not be seen is in the audit then.

        Args:
            key: id or name.
            action: what is to be done, as the audit calls it.
        """
        with self._rights.guard.doing(action, key[:100]):
            return self.find(key)

    def all(self, *, limit: int = 100, offset: int = 0) -> list[ProjectRow]:
        """Return projects that may be seen, by name."""
        return list(islice(self._rights.seen_projects(), offset, offset + limit))

    def add(self, name: str) -> ProjectRow:
        """Make a project, or return the one of this name; see `Projects.add`."""
        with self._rights.guard.doing("project.add", name) as deed:
            deed.require(Scope.PLAYBOOK_WRITE, Place(name))
            return self._projects.add(
                name,
                actor=self._rights.who.name,
                note=lambda unit, row: keep(deed, unit, row.id, row.name),
            )

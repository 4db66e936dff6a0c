"""Schedules and projects."""

from __future__ import annotations

from typing import Any, Unpack

from reworker.iron.link import Linked, quoted
from reworker.iron.options import ScheduleOptions, on_wire, text_of
from reworker.iron.records import Project, Schedule, id_of, record


class ScheduleCalls(Linked):
    """Requests about schedules; each takes a `Schedule` or its id."""

    def schedule(self, code_name: str, payload: Any = None, **options: Unpack[ScheduleOptions]) -> Schedule:
        """Make a schedule, which queues tasks of a code by the clock.

        Args:
            code_name: of the code.
            payload: of each task, see `TaskCalls.queue`.
            options: see `ScheduleOptions`; without any time it queues one task at once.
        """
        wanted = {"code_name": code_name, "payload": text_of(payload), **on_wire(ScheduleOptions, options)}
        found = self._link.ask("POST", "schedules", {"schedules": [wanted]}, about=("code", code_name))
        return self.schedule_info(found["schedules"][0]["id"])

    def schedules(self, *, page: int = 0, per_page: int = 30) -> list[Schedule]:
        """Return schedules of the project, a page of them."""
        found = self._link.ask("GET", "schedules", query={"page": page, "per_page": per_page})
        return [record(Schedule, one) for one in found["schedules"]]

    def schedule_info(self, schedule: Schedule | str) -> Schedule:
        """Return a schedule as it stands now."""
        return record(Schedule, self._link.ask("GET", _path(schedule)))

    def change_schedule(self, schedule: Schedule | str, **options: Unpack[ScheduleOptions]) -> Schedule:
        """Change what is named of a schedule; return it as it is then."""
        self._link.ask("PUT", _path(schedule), on_wire(ScheduleOptions, options))
        return self.schedule_info(schedule)

    def cancel_schedule(self, schedule: Schedule | str) -> None:
        """End a schedule; tasks that it has queued go on."""
        self._link.ask("POST", f"{_path(schedule)}/cancel", {})


class ProjectCalls(Linked):
    """Requests about projects."""

    def projects(self) -> list[Project]:
        """Return the projects that the token may see."""
        return [record(Project, one) for one in self._link.ask("GET", "/projects")["projects"]]

    def project(self, project: Project | str = "") -> Project:
        """Return a project; that of the settings if none is named."""
        return record(Project, self._link.ask("GET", project_path(id_of(project))))

    def add_project(self, name: str) -> Project:
        """Make a project; one of this name that is there is returned as it is."""
        return record(Project, {"name": name, **self._link.ask("POST", "/projects", {"name": name})})


def project_path(project: str) -> str:
    """Return the path of a project; empty is that of the settings."""
    return f"/projects/{quoted(project)}" if project else ""


def _path(schedule: Schedule | str) -> str:
    return f"schedules/{quoted(id_of(schedule))}"

"""The calls of 2012, as the getting-started guides use them: their names, arguments and answers.

What the server says comes back as it came, as dictionaries; see `code_calls` and `task_calls` for the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reworker.iron.archive import require_entry, runtime_of, zip_files, zip_folder
from reworker.iron.code_calls import send_package
from reworker.iron.link import Linked, pieces_of, quoted
from reworker.iron.options import ScheduleOptions, TaskOptions, on_wire, text_of
from reworker.iron.records import WIRE_NAMES
from reworker.iron.schedule_calls import project_path
from reworker.task_errors import PackageInvalid

log = logging.getLogger(__name__)

#: options by the names that they had -> those of today.
_TODAY = {wire: ours for ours, wire in WIRE_NAMES.items()}


class ClassicZips:
    """Zips for `postCode`; without a server."""

    @staticmethod
    def createZip(
        base_dir: str = "", files: Sequence[str] = (), destination: Any = "", overwrite: bool = False
    ) -> bool:
        """Zip files; tell whether that was done, and warn of the reason where it was not.

        Args:
            base_dir: put in front of each name inside the zip.
            files: their paths.
            destination: of the zip. In the first versions it came first, and that is understood as well.
            overwrite: replace what is there; else nothing is done then.
        """
        if not isinstance(destination, str):  # (destination, base_dir, files, overwrite)
            base_dir, files, destination = str(files), destination, base_dir
        if not _is_free(destination, overwrite):
            return False
        try:
            zip_files(files, destination, base_dir=base_dir)
        except PackageInvalid as error:
            log.warning("no zip was created: %s", error)
            return False
        return True

    @staticmethod
    def zipDirectory(directory: str, destination: str, overwrite: bool = False) -> bool:
        """Zip all that is in a folder, named from there on; tell whether that was done. See `createZip`."""
        if not _is_free(destination, overwrite):
            return False
        try:
            zip_folder(directory, destination)
        except PackageInvalid as error:
            log.warning("no zip was created: %s", error)
            return False
        return True


def _is_free(destination: str, overwrite: bool) -> bool:
    if overwrite or not Path(destination).exists():
        return True
    log.warning("no zip was created: %r is there already; say overwrite=True to replace it", destination)
    return False


class ClassicCodes(Linked):
    """Codes and projects; `project_id` is that of the settings where it is left out."""

    def postCode(
        self, runFilename: str, zipFilename: str, name: str, project_id: str = "", runtime: str = ""
    ) -> Any:
        """Upload a zip.

        Args:
            runFilename: file inside the zip that is run.
            zipFilename: path of the zip.
            name: of the code.
            project_id: see above.
            runtime: that runs it; empty is what the file's ending says.

        Returns:
            ``{"msg": "Upload successful.", "status_code": 200, "id": "..."}``
        """
        require_entry(zipFilename, runFilename)
        about = {"name": name, "file_name": runFilename, "runtime": runtime or runtime_of(runFilename)}
        return send_package(self._at(project_id), about, zipFilename)

    def getCodes(self, project_id: str = "", page: int = 0, per_page: int = 30) -> Any:
        """Return a list of codes."""
        return self._at(project_id).ask("GET", "codes", query={"page": page, "per_page": per_page})["codes"]

    def getCodeDetails(self, code_id: str, project_id: str = "") -> Any:
        """Return a code."""
        return self._at(project_id).ask("GET", f"codes/{quoted(code_id)}")

    def deleteCode(self, code_id: str, project_id: str = "") -> Any:
        """Delete a code."""
        return self._at(project_id).ask("DELETE", f"codes/{quoted(code_id)}")

    def getProjects(self) -> Any:
        """Return a list of projects."""
        return self._at("").ask("GET", "/projects")["projects"]

    def getProjectDetails(self, project_id: str = "") -> Any:
        """Return a project."""
        return self._at("").ask("GET", project_path(project_id))

    def postProject(self, name: str) -> Any:
        """Make a project; return ``{"id": "..."}``."""
        return self._at("").ask("POST", "/projects", {"name": name})


class ClassicTasks(Linked):
    """Tasks and schedules; `project_id` is that of the settings where it is left out."""

    def postTask(self, name: str, payload: Any = None, project_id: str = "", **options: Any) -> Any:
        """Queue a task.

        Args:
            name: of the code.
            payload: a dictionary, usually; None is an empty one.
            project_id: see above.
            options: priority, delay, timeout, label, cluster.

        Returns:
            ``{"msg": "Queued up", "status_code": 200, "tasks": [{"id": "..."}]}``
        """
        said = on_wire(TaskOptions, _today(options))
        task = {"name": name, "code_name": name, "payload": text_of(payload), **said}
        return self._at(project_id).ask("POST", "tasks", {"tasks": [task]}, about=("code", name))

    def getTasks(self, project_id: str = "", **filters: Any) -> Any:
        """Return a list of tasks; `filters` are page, per_page, code_name, ``queued=1`` and so on."""
        return self._at(project_id).ask("GET", "tasks", query=filters)["tasks"]

    def getTaskDetails(self, task_id: str, project_id: str = "") -> Any:
        """Return a task."""
        return self._at(project_id).ask("GET", f"tasks/{quoted(task_id)}")

    def getLog(self, task_id: str, project_id: str = "") -> str:
        """Return what a task has written so far."""
        with self._at(project_id).opened("GET", f"tasks/{quoted(task_id)}/log") as response:
            return b"".join(pieces_of(response)).decode("utf-8", "replace")

    def cancelTask(self, task_id: str, project_id: str = "") -> Any:
        """End a task."""
        return self._at(project_id).ask("POST", f"tasks/{quoted(task_id)}/cancel", {})

    def setProgress(
        self, task_id: str, percent: int | None = None, msg: str | None = None, project_id: str = ""
    ) -> Any:
        """Note how far a task is."""
        said = {name: value for name, value in (("percent", percent), ("msg", msg)) if value is not None}
        return self._at(project_id).ask("POST", f"tasks/{quoted(task_id)}/progress", said)

    def postSchedule(
        self, name: str, delay: Any = None, payload: Any = None, project_id: str = "", **options: Any
    ) -> Any:
        """Make a schedule.

        Args:
            name: of the code, unless `code_name` is given.
            delay: seconds before its task, if no other time is given.
            payload: see `postTask`.
            project_id: see above.
            options: code_name, start_at, run_every, end_at, run_times, cron, priority, timeout and so on.

        Returns:
            ``{"msg": "Scheduled", "status_code": 200, "schedules": [{"id": "..."}]}``
        """
        code = options.pop("code_name", None) or name
        said = on_wire(ScheduleOptions, _today({"delay": delay, **options}))
        wanted = {"name": name, "code_name": code, "payload": text_of(payload), **said}
        return self._at(project_id).ask("POST", "schedules", {"schedules": [wanted]}, about=("code", code))

    def getSchedules(self, project_id: str = "", page: int = 0, per_page: int = 30) -> Any:
        """Return a list of schedules."""
        return self._at(project_id).ask("GET", "schedules", query={"page": page, "per_page": per_page})[
            "schedules"
        ]

    def cancelSchedule(self, schedule_id: str, project_id: str = "") -> Any:
        """End a schedule."""
        return self._at(project_id).ask("POST", f"schedules/{quoted(schedule_id)}/cancel", {})


def _today(options: dict[str, Any]) -> dict[str, Any]:
    return {_TODAY.get(name, name): value for name, value in options.items()}

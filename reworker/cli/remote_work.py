"""Codes, tasks and schedules of a server, asked over its API; see `asked_work`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any, TypeVar

import msgspec

from reworker.cli.asked_work import PAGE_COUNT, Wanted
from reworker.cli.sent_form import SentForm
from reworker.cli.server_client import ServerClient, part
from reworker.core.tasks.code_settings import CodeSettings
from reworker.core.tasks.requests import NewCode, NewTask
from reworker.core.tasks.schedule_requests import ChangedSchedule, NewSchedule
from reworker.core.tasks.views import Code, Project, Revision, Schedule, Task

T = TypeVar("T")
#: header of a log: number of its last line.
_LAST_NO = "X-Last-No"
_PIECE_BYTES = 1 << 16


class RemoteCodes:
    """Asks a server about projects and codes; one thread. Who acts is who the token belongs to."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    def projects(self) -> Iterator[Project]:
        """Yield projects; see `AskedWork`."""
        return self._all("/projects", Project)

    def add_project(self, name: str) -> Project:
        """Make a project; see `AskedWork`."""
        return self._made("/projects", {"name": name}, Project)

    def codes(self, project: str) -> Iterator[Code]:
        """Yield codes; see `AskedWork`."""
        return self._all("/codes", Code, project=project)

    def code(self, code_id: str) -> Code:
        """Return a code; see `AskedWork`."""
        return msgspec.convert(self._client.get(f"/codes/{part(code_id)}"), Code)

    def code_named(self, project: str, name: str) -> Code | None:
        """Return a code or None; see `AskedWork`."""
        found = self._client.get("/codes", project=project, name=name)["items"]
        return msgspec.convert(found[0], Code) if found else None

    def upload(self, asked: NewCode, file: IO[bytes] | None) -> Code:
        """Send a code; see `AskedWork`."""
        data = {name: value for name, value in msgspec.to_builtins(asked).items() if value is not None}
        # a token that does not count is told of before a large file is on its way
        self._client.get("/me")
        return msgspec.convert(self._client.send_form("/codes", SentForm(data, file)), Code)

    def change_code(self, code_id: str, asked: CodeSettings) -> Code:
        """Change options; see `AskedWork`."""
        body = {name: value for name, value in msgspec.to_builtins(asked).items() if value is not None}
        return msgspec.convert(self._client.ask("PATCH", f"/codes/{part(code_id)}", body), Code)

    def pause_code(self, code_id: str, *, is_paused: bool) -> Code:
        """Pause or resume; see `AskedWork`."""
        verb = "pause" if is_paused else "resume"
        return msgspec.convert(self._client.ask("POST", f"/codes/{part(code_id)}/{verb}"), Code)

    def remove_code(self, code_id: str) -> None:
        """Delete a code; see `AskedWork`."""
        self._client.ask("DELETE", f"/codes/{part(code_id)}")

    def revisions(self, code_id: str) -> Iterator[Revision]:
        """Yield revisions; see `AskedWork`."""
        return self._all(f"/codes/{part(code_id)}/revisions", Revision)

    def package(self, code_id: str, rev: int) -> Iterator[bytes]:
        """Yield a package; see `AskedWork`."""
        with self._client.opened(f"/codes/{part(code_id)}/download", revision=rev) as response:
            while piece := response.read(_PIECE_BYTES):
                yield piece

    def _made(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        return msgspec.convert(self._client.ask("POST", path, body), kind)

    def _all(self, path: str, kind: type[T], **query: Any) -> Iterator[T]:
        cursor: str | None = ""
        while cursor is not None:
            found = self._client.get(path, **query, limit=PAGE_COUNT, cursor=cursor)
            yield from (msgspec.convert(one, kind) for one in found["items"])
            cursor = found["next"]


class RemoteWork(RemoteCodes):
    """Asks a server about all of it."""

    def queue(self, project: str, asked: Sequence[NewTask]) -> list[Task]:
        """Queue tasks; see `AskedWork`."""
        body = {"project": project, "tasks": [msgspec.to_builtins(one) for one in asked]}
        return msgspec.convert(self._client.ask("POST", "/tasks", body)["items"], list[Task])

    def tasks(self, wanted: Wanted) -> Iterator[Task]:
        """Yield tasks; see `AskedWork`."""
        query = {
            "project": wanted.project,
            "code": wanted.code,
            "status": list(wanted.statuses),
            "label": wanted.label,
            "schedule": wanted.schedule,
            "limit": wanted.limit,
        }
        return iter(msgspec.convert(self._client.get("/tasks", **query)["items"], list[Task]))

    def task(self, task_id: str) -> Task:
        """Return a task; see `AskedWork`."""
        return msgspec.convert(self._client.get(f"/tasks/{part(task_id)}"), Task)

    def output(self, task_id: str, after_no: int) -> tuple[Iterator[str], int]:
        """Return output; see `AskedWork`."""
        with self._client.opened(f"/tasks/{part(task_id)}/log", after_no=after_no) as response:
            text = response.read().decode("utf-8", "replace")
            return iter([text]), int(response.headers.get(_LAST_NO) or after_no)

    def cancel_task(self, task_id: str) -> Task:
        """End a task; see `AskedWork`."""
        return msgspec.convert(self._client.ask("POST", f"/tasks/{part(task_id)}/cancel"), Task)

    def retry_task(self, task_id: str, delay_s: float) -> Task:
        """Queue a task anew; see `AskedWork`."""
        return self._made(f"/tasks/{part(task_id)}/retry", {"delay_s": delay_s}, Task)

    def add_schedule(self, asked: NewSchedule) -> Schedule:
        """Make a schedule; see `AskedWork`."""
        return self._made("/schedules", msgspec.to_builtins(asked), Schedule)

    def schedules(self, project: str, status: str) -> Iterator[Schedule]:
        """Yield schedules; see `AskedWork`."""
        return self._all("/schedules", Schedule, project=project, status=status)

    def schedule(self, schedule_id: str) -> Schedule:
        """Return a schedule; see `AskedWork`."""
        return msgspec.convert(self._client.get(f"/schedules/{part(schedule_id)}"), Schedule)

    def change_schedule(self, schedule_id: str, asked: ChangedSchedule) -> Schedule:
        """Change a schedule; see `AskedWork`."""
        body = msgspec.to_builtins(asked)
        return msgspec.convert(self._client.ask("PATCH", f"/schedules/{part(schedule_id)}", body), Schedule)

    def cancel_schedule(self, schedule_id: str) -> Schedule:
        """End a schedule; see `AskedWork`."""
        return msgspec.convert(self._client.ask("POST", f"/schedules/{part(schedule_id)}/cancel"), Schedule)

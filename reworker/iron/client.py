"""The client: one class with the calls of 2012 and those of today."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypedDict, Unpack

from reworker.clock import SystemClock
from reworker.errors import ConfigError
from reworker.iron.classic import ClassicCodes, ClassicTasks, ClassicZips
from reworker.iron.code_calls import CodeCalls
from reworker.iron.inside import Inside
from reworker.iron.link import Link
from reworker.iron.schedule_calls import ProjectCalls, ScheduleCalls
from reworker.iron.settings import ALIASES, ANSWER_S, KEYS, is_file_name, load_settings
from reworker.iron.task_calls import TaskCalls


class Place(TypedDict, total=False):
    """Where the server is, in parts or as `cloud`; each can be left out."""

    port: int | str
    version: int | str
    api_version: int | str
    protocol: str
    scheme: str
    path_prefix: str
    cloud: str
    config: str
    app_engine: bool


class IronWorker(
    ClassicZips, ClassicCodes, ClassicTasks, CodeCalls, TaskCalls, ScheduleCalls, ProjectCalls, Inside
):
    """A client of one server and one project; one thread, nothing to close.

    Args:
        config_file: an INI or JSON file with settings; or a token, as it was in 2012.
        project_id: id or name; ``default`` is there on every server.
        host: of the server.
        token: of the server.
        timeout_s: longest wait for a piece of an answer.
        place: see `Place`.

    Raises:
        ConfigError: a setting is missing or wrong; `settings` says what is read, and in which order.
    """

    def __init__(
        self,
        config_file: str | None = None,
        project_id: str | None = None,
        host: str | None = None,
        *,
        token: str | None = None,
        timeout_s: float = ANSWER_S,
        **place: Unpack[Place],
    ) -> None:
        unknown = set(place) - {*KEYS, *ALIASES, "config", "app_engine"}
        if unknown:
            raise ConfigError(
                f"there is no such argument of IronWorker; there are {', '.join(KEYS)}", key=min(unknown)
            )
        first, named = config_file or "", place.get("config") or ""
        if first and not is_file_name(first, Path()):
            token, first = token or first, ""
        arguments: dict[str, Any] = {**place, "token": token, "project_id": project_id, "host": host}
        settings = load_settings(arguments, os.environ, config_file=first or named, timeout_s=timeout_s)
        self._link, self._clock = Link(settings), SystemClock()

    def __repr__(self) -> str:
        return f"IronWorker({self._link.settings.url}, project {self._link.settings.project_id!r})"

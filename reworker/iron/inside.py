"""For the program of a task: what it was given, and how it says how far it is.

Each value comes from the arguments that the process was started with, unless a variable has it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reworker.errors import ConfigError
from reworker.iron.link import Link, quoted
from reworker.iron.settings import load_settings

#: a value -> (argument, variable).
PLACES = {
    "task_id": ("id", "TASK_ID"),
    "task_dir": ("d", "TASK_DIR"),
    "payload_file": ("payload", "PAYLOAD_FILE"),
    "config_file": ("config", "CONFIG_FILE"),
    "schedule_id": ("schedule_id", "SCHEDULE_ID"),
}


def given(name: str, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> str:
    """Return a value of `PLACES`; empty when the process was not given it.

    Args:
        name: of the value.
        argv: ``sys.argv`` if left out; ``-id X``, ``--id X`` and ``-id=X`` are the same.
        environ: ``os.environ`` if left out.
    """
    argument, variable = PLACES[name]
    arguments = list(sys.argv if argv is None else argv)
    found = ""
    for place, word in enumerate(arguments[1:], 1):
        flag, has_value, value = word.partition("=")
        if flag not in (f"-{argument}", f"--{argument}"):
            continue
        found = value if has_value else "".join(arguments[place + 1 : place + 2])
    return (os.environ if environ is None else environ).get(variable) or found


def read(path: str) -> Any:
    """Return what a file holds: JSON as its value, anything else as text; None where there is no file."""
    if not path:
        return None
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror}", path=path) from error
    try:
        return json.loads(text)
    except ValueError:
        return text


def payload() -> Any:
    """Return the payload of this task."""
    return read(given("payload_file"))


def config() -> Any:
    """Return the configuration of this task's code; None when it has none."""
    return read(given("config_file"))


def task_id() -> str:
    """Return the id of this task; empty outside of one."""
    return given("task_id")


def task_dir() -> str:
    """Return the folder of this task; empty outside of one."""
    return given("task_dir")


def schedule_id() -> str:
    """Return the id of the schedule that queued this task; empty is none."""
    return given("schedule_id")


def set_progress(percent: int | None = None, msg: str | None = None) -> None:
    """Say how far this task is; what is None stays as it was.

    Raises:
        ConfigError: this process runs in no task, or was not told where the server is.
    """
    own = task_id()
    if not own:
        raise ConfigError("this process runs in no task: neither argument -id nor TASK_ID is there", key="id")
    said = {name: value for name, value in (("percent", percent), ("msg", msg)) if value is not None}
    Link(load_settings({}, os.environ)).ask("POST", f"tasks/{quoted(own)}/progress", said)


class Inside:
    """The same, by the names that version 1 of the public client had for them."""

    payload = staticmethod(payload)
    config = staticmethod(config)
    task_id = staticmethod(task_id)
    task_dir = staticmethod(task_dir)

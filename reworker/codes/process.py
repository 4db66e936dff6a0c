"""The process of a task as it is promised to code packages: arguments, environment, files, runtimes.

Written after what IronWorker gave to its workers; the order of the arguments is part of it: some runners
only look at the first one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from reworker.codes.packages import entry_in
from reworker.codes.runtimes import Runtimes
from reworker.task_errors import PackageInvalid

#: names of the files beside those of the package.
PAYLOAD_NAME, CONFIG_NAME = "task_payload.json", "task_config.json"
#: where programs are looked for: not in the worker's own places.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: runners that know the argument of a schedule; others stop at what they do not know.
_RUNNER = re.compile(r"(.*/)?__runner__\.[^/]*")
_PORTS = {"http": 80, "https": 443}


class TaskOrder(msgspec.Struct, frozen=True):
    """What the core says of a task, in the parameters of its step.

    Args:
        task_id: its id.
        project_id: of its project.
        code_id: of its code.
        code_name: of its code.
        rev: number of the revision.
        digest: SHA-256 of the package.
        runtime: how its file is run.
        file_name: that is run.
        payload: text for it.
        config: text of its code; empty is none.
        env_vars: further variables.
        timeout_s: seconds that it may take.
        schedule_id: of the schedule that it comes from; empty is none.
        token: lets it ask the server; empty is none.
        splits_output: somebody wants what it writes to stdout without the rest.
    """

    task_id: str
    project_id: str
    code_id: str
    code_name: str
    rev: int
    digest: str
    timeout_s: float
    runtime: str = ""
    file_name: str = ""
    payload: str = ""
    config: str = ""
    env_vars: dict[str, str] = {}
    schedule_id: str | None = None
    token: str = ""
    splits_output: bool = False


def write_files(order: TaskOrder, folder: Path, uid: int | None) -> None:
    """Write payload and configuration, byte for byte, into the folder of a task."""
    texts = [(PAYLOAD_NAME, order.payload), *([(CONFIG_NAME, order.config)] if order.config else [])]
    for name, text in texts:
        file = _new_file(f"{folder}/{name}")
        try:
            left = text.encode("utf-8", "surrogatepass")
            while left:
                left = left[os.write(file, left) :]
            if uid is not None:
                os.fchown(file, uid, uid)
        finally:
            os.close(file)


def _new_file(path: str) -> int:
    """Open a file that was not there, or is in the place of one that the package has brought."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o600)


def arguments_of(order: TaskOrder, folder: Path, runtimes: Runtimes) -> list[str]:
    """Return program and arguments of a task, whose files are in its folder; its entry is made executable.

    Raises:
        PackageInvalid: there is no such file, or nothing here that can run it.
    """
    top = str(folder)
    entry, mode = _entry(order, top)
    if mode & 0o700 != 0o700:
        os.chmod(f"{top}/{entry}", mode & 0o777 | 0o700)
    words = [*runtimes.command(order.runtime, entry), "-d", f"{top}/", "-e", "production"]
    words += ["-id", order.task_id, "-payload", f"{top}/{PAYLOAD_NAME}"]
    if order.config:
        words += ["-config", f"{top}/{CONFIG_NAME}"]
    if order.schedule_id and _RUNNER.fullmatch(entry):
        words += ["-schedule_id", order.schedule_id]
    return words


def _entry(order: TaskOrder, folder: str) -> tuple[str, int]:
    """Return the file to run, from the folder on, and its mode."""
    if not order.file_name:
        raise PackageInvalid("the package does not say which file is to be run; upload it with a file_name")
    parts = [part for part in order.file_name.split("/") if part not in ("", ".")]
    if parts and ".." not in parts:
        with contextlib.suppress(OSError, ValueError):
            mode = os.stat(f"{folder}/{'/'.join(parts)}").st_mode
            if stat.S_ISREG(mode):
                return "/".join(parts), mode
    paths = [
        os.path.relpath(os.path.join(place, one), folder)
        for place, _, names in os.walk(folder)
        for one in names
    ]
    entry = entry_in(paths, order.file_name)
    return entry, os.stat(f"{folder}/{entry}").st_mode


def environment_of(
    order: TaskOrder, folder: Path, temporary: str, path: str, server: str, more: Mapping[str, str]
) -> dict[str, str]:
    """Return all of the environment of a task.

    Args:
        order: with what its code adds.
        folder: of the task.
        temporary: folder for temporary files.
        path: where programs are looked for.
        server: URL that its clients of IronWorker shall ask.
        more: what the worker's settings add.

    Raises:
        PackageInvalid: a variable cannot be set.
    """
    own = {
        "TASK_ID": order.task_id,
        "TASK_DIR": f"{folder}/",
        "PAYLOAD_FILE": f"{folder}/{PAYLOAD_NAME}",
        **({"CONFIG_FILE": f"{folder}/{CONFIG_NAME}"} if order.config else {}),
        **({"SCHEDULE_ID": order.schedule_id} if order.schedule_id else {}),
    }
    usual = {"PATH": path, "HOME": str(folder), "TMPDIR": temporary, "LANG": "C.UTF-8"}
    found = {**usual, **more, **_iron(order, server), **order.env_vars, **own}
    for name, value in found.items():
        if not name or "=" in name or "\0" in name + value:
            raise PackageInvalid(f"the variable {name[:100]!a} cannot be set: its name or its value is none")
    return found


def _iron(order: TaskOrder, server: str) -> dict[str, str]:
    """Return what IronWorker's clients read, so that they find the server from inside of a task."""
    parts = urlsplit(server)
    scheme = parts.scheme or "http"
    found = {
        "IRON_PROJECT_ID": order.project_id,
        "IRON_HOST": parts.hostname or "",
        "IRON_PORT": str(parts.port or _PORTS.get(scheme, 80)),
        "IRON_PROTOCOL": scheme,
        "IRON_SCHEME": scheme,
    }
    return found | ({"IRON_TOKEN": order.token} if order.token else {})


def path_with(folders: Sequence[str], path: str) -> str:
    """Return where programs are looked for, with further folders behind the others."""
    return ":".join([path, *folders])


def make_python(folder: Path, path: str) -> bool:
    """Make a program `python` where there is only `python3`; tell whether the folder is needed."""
    if shutil.which("python", path=path) is not None:
        return False
    found = shutil.which("python3", path=path)
    if found is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # whatever the umask says
    link = folder / "python"
    if not link.is_symlink() or os.readlink(link) != found:
        fresh = folder / f".python-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(found)
        fresh.replace(link)
    return True

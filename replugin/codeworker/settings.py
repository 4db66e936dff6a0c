"""What the settings of the code worker say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from reworker.codes.limits import Count, Limits
from reworker.codes.process import PATH
from reworker.worker import checked_url, secret_of

Seconds = Annotated[float, msgspec.Meta(gt=0)]
Command = list[str]

#: variables that name the server and the token when the settings do not.
SERVER_VARIABLE, TOKEN_VARIABLE = "REWORKER_SERVER", "REWORKER_TOKEN"
#: users of tasks when nothing else is said. Source: systemd's list of ranges, which leaves these to nobody.
FIRST_UID, UID_COUNT = 60_600, 500


class CodeSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The worker's own settings.

    Args:
        server: URL of ``reworker web``; empty is that of the environment.
        token: that may download packages; None is that of the environment.
        token_file: of which it is the content.
        ca: trusted certificates of the server.
        cache_dir: folder for packages that were unpacked; empty is one for this user.
        cache_mib: of all packages in it.
        work_dir: folder in which tasks run; empty is one for this user.
        path: where programs are looked for.
        runtimes: commands in front of a file, by runtime; beside the usual ones, or instead of them.
        environment: variables of every task.
        hide: files and folders that tasks see empty, where there are namespaces.
        limits: of each task.
        first_uid: the first of the users that tasks run as; only root can give them.
        uid_count: how many of them.
        download_timeout_s: seconds for which a server that is away is waited for; then the task waits in its
            queue.
        cancel_grace_s: seconds between SIGTERM and SIGKILL when a task is cancelled.
    """

    server: str = ""
    token: str | None = None
    token_file: str | None = None
    ca: str | None = None
    cache_dir: str = ""
    cache_mib: Count = 2_048
    work_dir: str = ""
    path: str = PATH
    runtimes: dict[str, Command] = {}
    environment: dict[str, str] = {}
    hide: list[str] = []
    limits: Limits = Limits()
    first_uid: Annotated[int, msgspec.Meta(ge=1, lt=2**31)] = FIRST_UID
    uid_count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = UID_COUNT
    download_timeout_s: Seconds = 20.0
    cancel_grace_s: Seconds = 5.0

    def __post_init__(self) -> None:
        if self.server:
            checked_url(self.server)
        self.token = secret_of(self.token, self.token_file)
        for key in ("cache_dir", "work_dir"):
            if (value := getattr(self, key)) and not value.startswith("/"):
                raise ValueError(f"{key}: expected an absolute path, found {value!r}")
        for name, command in self.runtimes.items():
            if not command:
                raise ValueError(f"runtimes.{name}: expected a program and its arguments")

    def completed(self, environ: Mapping[str, str]) -> CodeSettings:
        """Return them with what the environment and this machine say where they say nothing.

        Raises:
            ValueError: no server is named, or its URL is none.
        """
        server = self.server or environ.get(SERVER_VARIABLE, "")
        if not server:
            raise ValueError(f"server: name the URL of reworker web here or in {SERVER_VARIABLE}")
        home = _home(environ)
        return msgspec.structs.replace(
            self,
            server=checked_url(server).rstrip("/"),
            token=secret_of(self.token or environ.get(TOKEN_VARIABLE) or None, None),
            token_file=None,
            cache_dir=self.cache_dir or str(home / "cache"),
            work_dir=self.work_dir or str(home / "work"),
        )


def _home(environ: Mapping[str, str]) -> Path:
    """Return where this user's workers keep things: root's must let the users of tasks through."""
    if os.geteuid() == 0:
        return Path("/var/lib/reworker/codes")
    top = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(top) / "reworker" / "codes"

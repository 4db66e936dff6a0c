"""Where the versions of RabbitMQ are installed: one by the machine's package, others in a small Debian each.

`tests/brokers.sh` builds the latter. `REWORKER_RABBITMQ` says which one a run of the tests is about.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

#: the version, for example ``4.3``; empty is the installed one, whichever that is.
VARIABLE = "REWORKER_RABBITMQ"
#: where Debian keeps the real scripts; the wrappers in the path refuse most users.
SCRIPTS = Path("usr/lib/rabbitmq/bin")
_RELEASES = Path("usr/lib/rabbitmq/lib")
#: where a node's folder is seen from within a Debian of its own.
INSIDE = Path("/mnt")


@dataclass(frozen=True)
class Home:
    """A file tree with a RabbitMQ in it.

    Args:
        root: of the tree; ``/`` is the machine's own.
    """

    root: Path

    @property
    def version(self) -> str:
        """The installed version, for example ``3.10.8``; empty when there is none."""
        found = sorted((self.root / _RELEASES).glob("rabbitmq_server-*"))
        is_there = (self.root / SCRIPTS / "rabbitmq-server").exists()
        return found[-1].name.removeprefix("rabbitmq_server-") if found and is_there else ""

    @property
    def is_own(self) -> bool:
        """Whether it is the machine's own tree."""
        return self.root == Path("/")

    def inside(self, folder: Path) -> Path:
        """Return where a node finds its folder."""
        return folder if self.is_own else INSIDE

    def has(self, program: str) -> bool:
        """Tell whether a program is there."""
        if self.is_own:
            return shutil.which(program) is not None
        return os.path.lexists(self.root / "usr/bin" / program)

    def command(self, folder: Path, *arguments: str) -> list[str]:
        """Return how to run a program there, with a node's folder in its place.

        What is mounted for it is seen by that process alone, and goes with it.
        """
        if self.is_own:
            return list(arguments)
        mounts = 'mount --rbind /proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --bind "$2" "$1$3"'
        script = f'{mounts} && root=$1 && shift 3 && exec chroot "$root" "$@"'
        rights = [] if os.geteuid() == 0 else ["--map-root-user"]
        names = (str(self.root), str(folder), str(INSIDE))
        return ["unshare", "--mount", *rights, "sh", "-c", script, "sh", *names, *arguments]


INSTALLED = Home(Path("/"))


def home_of(version: str) -> Home:
    """Return where a version is; empty is the installed one. `Home.version` is empty when it is not there.

    Args:
        version: for example ``4.3``.
    """
    if not version or f"{INSTALLED.version}.".startswith(f"{version}."):
        return INSTALLED
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Home(cache / "reworker" / f"rabbitmq-{version}")


def wanted_version() -> str:
    """Return the version that this run of the tests is about; empty is the installed one."""
    return os.environ.get(VARIABLE, "").strip()

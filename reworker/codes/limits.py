"""What one task may use, and looking at what it does use.

The kernel keeps some limits for each process. Those of a whole task, memory, processes and its folder, are
looked at several times a second: a task may be over one of them for a moment before it is killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from reworker.pool.children import children_of

Count = Annotated[int, msgspec.Meta(ge=1)]

_MIB = 1 << 20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
#: seconds before the first look at the processes of a task, and between two: most are over sooner.
PROCESSES_S = 0.2
#: seconds between two looks at its folder; those that one file in it takes, and how much longer the pause is.
FOLDER_S, _ENTRY_S, _FOLDER_SHARE = 0.5, 3e-6, 20
#: processes that others of the same user may start while a slot is used.
_SLACK_COUNT = 1_000
#: how many times its limit of memory a process may ask for: much of that is never used.
_ASKED_SHARE = 4


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one task may use.

    Args:
        memory_mib: memory of all its processes together.
        disk_mib: bytes in its folder.
        files: files and folders in it.
        processes: processes and threads at once.
        open_files: of one process.
        log_mib: of its log; more is not kept.
    """

    memory_mib: Count = 512
    disk_mib: Count = 10_240
    files: Count = 200_000
    processes: Count = 512
    open_files: Count = 4_096
    log_mib: Count = 10

    def of_process(self, others_count: int) -> dict[str, int]:
        """Return what the kernel keeps for each process.

        Args:
            others_count: processes and threads that count, too: those of the same user, where a slot has none
                of its own.
        """
        return {
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": self.disk_mib * _MIB,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_DATA": self.memory_mib * _MIB * _ASKED_SHARE,
            "RLIMIT_NPROC": self.processes + others_count,
        }


def others_count() -> int:
    """Return how many processes and threads of our user there are, and may come without doing harm."""
    own, found = os.getuid(), _SLACK_COUNT
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.stat().st_uid == own:
                found += len(os.listdir(place / "task"))
    return found


class Usage:
    """Looks at what a task uses; one thread.

    Args:
        limits: of the task.
        top: pid of the process that all its processes descend from, and which is none of them.
        folder: where it may write.
        begin_mono_s: when it was started.
    """

    def __init__(self, limits: Limits, top: int, folder: Path, begin_mono_s: float) -> None:
        self._limits, self._top, self._folder = limits, top, folder
        self._processes_at_mono_s = begin_mono_s + PROCESSES_S
        self._folder_at_mono_s = begin_mono_s + FOLDER_S

    def excess(self, now_mono_s: float) -> str:
        """Return in words which limit the task is over; empty is none."""
        if now_mono_s >= self._processes_at_mono_s:
            self._processes_at_mono_s = now_mono_s + PROCESSES_S
            if words := self._processes():
                return words
        if now_mono_s < self._folder_at_mono_s:
            return ""
        words, count = self._files()
        self._folder_at_mono_s = now_mono_s + max(FOLDER_S, count * _ENTRY_S * _FOLDER_SHARE)
        return words

    def _processes(self) -> str:
        pids = _tree(self._top)
        if len(pids) > self._limits.processes:
            return f"it had more than {self._limits.processes} processes"
        most_bytes = self._limits.memory_mib * _MIB
        if sum(map(_resident_bytes, pids)) > most_bytes and sum(map(_own_bytes, pids)) > most_bytes:
            return f"it used more than {self._limits.memory_mib} MiB of memory"
        return ""

    def _files(self) -> tuple[str, int]:
        """Return in words what is too much in the folder, and how much was looked at."""
        size_bytes = count = 0
        for status in _statuses(self._folder):
            size_bytes += status.st_blocks * 512
            count += 1
            if size_bytes > self._limits.disk_mib * _MIB:
                return f"there were more than {self._limits.disk_mib} MiB in its folder", count
            if count > self._limits.files:
                return f"there were more than {self._limits.files} files in its folder", count
        return "", count


def _tree(top: int) -> list[int]:
    found, waiting = [], children_of(top)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children_of(pid)
    return found


def _resident_bytes(pid: int) -> int:
    """Return what a process has in memory; what it shares with others counts for each of them."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):  # it has ended
        return 0


def _own_bytes(pid: int) -> int:
    """Return what a process has in memory, its share of what is shared; that takes the kernel longer."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended, or we may not look
        return _resident_bytes(pid)
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _statuses(folder: Path) -> Iterator[os.stat_result]:
    """Yield those of all files and folders below one; what cannot be looked at is passed over."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            with contextlib.suppress(OSError):
                yield os.lstat(os.path.join(place, name))

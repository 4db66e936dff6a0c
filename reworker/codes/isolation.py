"""How well tasks can be kept apart on this machine: found by trying, said in words."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import tempfile
from pathlib import Path

import msgspec

from reworker.codes import keeper
from reworker.codes.keepers import Keeper, KeeperLost, Place

#: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_KILL, CAP_SETGID and CAP_SETUID. Source: capabilities(7).
_RIGHTS = 0b1110_1011

_log = logging.getLogger(__name__)


class Isolation(msgspec.Struct, frozen=True):
    """What keeps the tasks of this machine apart.

    Args:
        own_users: each slot has a user of its own, which only root can give.
        namespaces: a task sees no processes but its own, writes nothing but its folder, and leaves nothing.
        user_namespace: that they are had through a user namespace.
        own_proc: with a /proc of their own.
        problem: why there are no namespaces.
    """

    own_users: bool = False
    namespaces: bool = False
    user_namespace: bool = False
    own_proc: bool = False
    problem: str = ""

    @property
    def counts_processes(self) -> bool:
        """Whether the kernel counts the processes of a slot alone."""
        return self.own_users or self.user_namespace

    def place(self, top: str, private: list[tuple[str, str]], hidden: list[str]) -> Place:
        """Return where the tasks of a slot live.

        Args:
            top: the slot's folder.
            private: (place, folder) pairs: what tasks see there instead.
            hidden: files and folders that they see empty.
        """
        return Place(
            namespaces=self.namespaces,
            users=self.user_namespace,
            own_proc=self.own_proc,
            top=top,
            private=private if self.namespaces else [],
            hidden=hidden if self.namespaces else [],
        )

    def words(self) -> str:
        """Return in words what is in force, and what is not."""
        parts = [
            "a user for each slot"
            if self.own_users
            else "NO user of their own: tasks have the worker's rights to files",
            "namespaces: a task sees and leaves no other processes and writes nothing but its folder"
            if self.namespaces
            else f"NO namespaces ({self.problem}): processes are found and ended through /proc",
        ]
        if self.namespaces and not self.own_proc:
            parts.append("NO /proc of their own: they see that other processes run")
        return "; ".join(parts)


@functools.cache
def isolation_here(first_uid: int = 1) -> Isolation:
    """Return what this machine allows; tried once in a process, and written to the log.

    Where tasks have our own user, our memory and environment are closed to it from here on.

    Args:
        first_uid: of the users that tasks would get.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    uid_map = Path("/proc/self/uid_map").read_text(encoding="ascii")
    found = _tried(has_users=can_give_users(status, uid_map, first_uid))
    if not found.own_users:
        ctypes.CDLL(None).prctl(keeper.PR_DUMPABLE, 0, 0, 0, 0)
    level = logging.INFO if found.own_users and found.namespaces else logging.WARNING
    _log.log(level, "tasks are kept apart by: %s", found.words())
    return found


def can_give_users(status: str, uid_map: str, uid: int) -> bool:
    """Tell whether a process may start others as another user, and give them files.

    Args:
        status: its /proc/self/status.
        uid_map: its /proc/self/uid_map; in a container, only some users may be there.
        uid: that user.
    """
    held = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    ranges = [[int(word) for word in line.split()] for line in uid_map.splitlines()]
    return held & _RIGHTS == _RIGHTS and any(first <= uid < first + count for first, _, count in ranges)


def _tried(*, has_users: bool) -> Isolation:
    is_root = os.geteuid() == 0
    wanted = Isolation(own_users=has_users, namespaces=True, user_namespace=not is_root, own_proc=True)
    problem = ""
    for level in (wanted, msgspec.structs.replace(wanted, own_proc=False)):
        problem = _problem_with(level)
        if not problem:
            return level
    return Isolation(own_users=has_users, problem=problem)


def _problem_with(level: Isolation) -> str:
    with tempfile.TemporaryDirectory() as top:
        try:
            Keeper(level.place(top, [], [])).close()
        except KeeperLost as error:
            return error.message
    return ""

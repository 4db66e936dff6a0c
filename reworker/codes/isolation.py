"""How well tasks can be kept apart on this machine: found by trying, said in words."""

from __future__ import annotations

import functools
import logging
import os
import tempfile

import msgspec

from reworker.codes.keepers import Keeper, KeeperLost, Place

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
def isolation_here() -> Isolation:
    """Return what this machine allows; tried once in a process, and written to the log."""
    found = _tried(is_root=os.geteuid() == 0)
    level = logging.INFO if found.own_users and found.namespaces else logging.WARNING
    _log.log(level, "tasks are kept apart by: %s", found.words())
    return found


def _tried(*, is_root: bool) -> Isolation:
    wanted = Isolation(own_users=is_root, namespaces=True, user_namespace=not is_root, own_proc=True)
    problem = ""
    for level in (wanted, msgspec.structs.replace(wanted, own_proc=False)):
        problem = _problem_with(level)
        if not problem:
            return level
    return Isolation(own_users=is_root, problem=problem)


def _problem_with(level: Isolation) -> str:
    with tempfile.TemporaryDirectory() as top:
        try:
            Keeper(level.place(top, [], [])).close()
        except KeeperLost as error:
            return error.message
    return ""

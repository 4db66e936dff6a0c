"""Processes that jobs have started: finding and ending them with all that they have started.

Linux keeps the children of a process by the thread that started them, so that the ones of a job can be told
from those of other instances. Who has left its session to live on as a daemon is nobody's child any more.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def children_of_thread(thread_id: int | None) -> list[int]:
    """Return the processes that a thread of this process has started and that live.

    Args:
        thread_id: the kernel's; None is a thread that has not begun.
    """
    return [] if thread_id is None else _numbers_in(Path(f"/proc/self/task/{thread_id}/children"))


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    with contextlib.suppress(OSError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [number for task in tasks for number in _numbers_in(task / "children")]
    return []


def end_trees(pids: Iterable[int], number: signal.Signals) -> int:
    """Send a signal to these processes, their groups and all that they have started; return how many."""
    found = _trees(pids)
    own_group = os.getpgrp()
    groups = {one for one in found if one != own_group and _group_of(one) == one}
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for pid in found:
        if _group_of(pid) not in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
    return len(found)


def _trees(pids: Iterable[int]) -> list[int]:
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.append(pid)
            waiting.extend(children_of(pid))
    return found


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _numbers_in(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text(encoding="ascii").split()]
    except OSError:  # it has ended, or this kernel does not tell
        return []

"""Hold a process to a share of a processor, so that many of them and a broker fit on a small machine.

Needs root and Linux' control groups, version 1 or 2.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

#: microseconds after which a process gets its share anew: short, so that it never pauses for long.
PERIOD_US = 10_000
V1, V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


def parent_group() -> Path | None:
    """Return the folder in which groups with a share of processors can be made; None where there is none."""
    if (V2 / "cgroup.subtree_control").is_file():
        has_cpu = "cpu" in (V2 / "cgroup.subtree_control").read_text(encoding="ascii").split()
        return V2 if has_cpu and os.access(V2, os.W_OK) else None
    return V1 if (V1 / "cpu.cfs_quota_us").is_file() and os.geteuid() == 0 else None


@contextlib.contextmanager
def share(parent: Path, part: float) -> Iterator[Path]:
    """Give a group whose processes have so much of one processor together, for example 0.1.

    Write a process id into its `cgroup.procs`; they must have ended with the block.
    """
    group = parent / f"reworker-bench-{uuid.uuid4().hex[:12]}"
    group.mkdir()
    quota_us = round(part * PERIOD_US)
    try:
        if parent == V2:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
            (group / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
        yield group
    finally:
        group.rmdir()

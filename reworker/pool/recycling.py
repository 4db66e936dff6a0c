"""When a process has had its share: so many jobs, or so much memory, and a fresh one is to go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from reworker.jobs.settings import WorkerSettings
from reworker.pool.instance import Instance

_MIB = 1 << 20


class Share:
    """What this process may still do before it is replaced.

    Args:
        instances: whose jobs are counted.
        rss_bytes: tells the memory of this process.
    """

    def __init__(self, instances: Sequence[Instance], rss_bytes: Callable[[], int] | None = None) -> None:
        self._instances = instances
        self._rss_bytes = rss_bytes or own_rss_bytes

    def excess(self, settings: WorkerSettings) -> str:
        """Return in words what is over its limit, or nothing."""
        if settings.max_jobs is not None:
            job_count = sum(one.job_count for one in self._instances)
            if job_count >= settings.max_jobs:
                return f"{job_count} jobs are done (max_jobs {settings.max_jobs})"
        if settings.max_rss_mib is None:
            return ""
        rss_mib = self._rss_bytes() // _MIB
        is_over = rss_mib > settings.max_rss_mib
        return f"{rss_mib} MiB of memory are used (max_rss_mib {settings.max_rss_mib})" if is_over else ""


def own_rss_bytes() -> int:
    """Return the memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")

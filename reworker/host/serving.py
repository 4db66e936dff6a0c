"""Running the pool of a worker, as the worker wants it; and what a crash of its process says."""

from __future__ import annotations

import contextlib
import faulthandler
import io
from typing import Any

from reworker.pool.pool import WorkerPool


def serve(worker: Any, pool: WorkerPool, *, is_alone: bool) -> int:
    """Run a pool until it is told to stop, and return the exit code.

    Args:
        worker: the first of the pool.
        pool: not started.
        is_alone: let the worker run it, in its `run_forever`: that may add to it.
    """
    worker._pool = pool
    if not is_alone:
        pool.run()
        return pool.exit_code
    try:
        worker.run_forever()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def show_crashes() -> None:
    """Have a crash in C, and SIGABRT, write the stacks of all threads to stderr."""
    with contextlib.suppress(AttributeError, ValueError, io.UnsupportedOperation):  # stderr is no file
        if not faulthandler.is_enabled():
            faulthandler.enable()

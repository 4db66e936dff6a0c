"""What the threads of this process are at, for the log."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Any

from reworker.pool.instance import Instance


def log_stacks(
    logger: logging.Logger, instances: Sequence[Instance], message: str, *, is_all: bool = True
) -> None:
    """Write one record with the stacks of these instances, and unless `is_all` is False of all threads."""
    frames = sys._current_frames()
    own = {one.thread.ident: one for one in instances}
    threads = [one for one in threading.enumerate() if is_all or one.ident in own]
    parts = [
        _part(thread, own.get(thread.ident), frames[thread.ident])
        for thread in threads
        if thread.ident is not None and thread.ident in frames
    ]
    _write(logger, message, "\n".join(parts))


def job_of(instance: Instance) -> str:
    """Return in words what an instance performs."""
    attempt = instance.station.current
    if attempt is None:
        return "no job"
    age_s = instance.station.clock.mono_s() - attempt.started_mono_s
    method = f", step {attempt.method.options.name}" if attempt.method is not None else ""
    return f"job {attempt.correlation_id}{method}, for {age_s:.1f} s"


def _part(thread: threading.Thread, instance: Instance | None, frame: Any) -> str:
    job = f": {job_of(instance)}" if instance is not None else ""
    return f"Thread {thread.name!r}{job}\n{''.join(traceback.format_stack(frame)).rstrip()}"


def _write(logger: logging.Logger, message: str, stacks: str) -> None:
    """Log a record whose stack is one of ours: `stack_info` of the standard calls is that of the caller."""
    record = logger.makeRecord(logger.name, logging.WARNING, __file__, 0, message, (), None, sinfo=stacks)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)

"""One task from its start to its end: what it writes is passed on, its limits are kept.

stdout and stderr are one pipe, which keeps the order of what a process writes to both. Where they have to be
told apart they are two, read as soon as there is something in them: of what is written to both within less
time than a look takes, the order is not known then.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from reworker.clock import Clock
from reworker.codes.keepers import Keeper, Request
from reworker.codes.limits import Limits, Usage
from reworker.codes.pieces import LogPieces, Send

#: seconds between two looks at whether a task is to end.
TICK_S = 0.1
#: bytes that are read at once: what a pipe holds.
_CHUNK_BYTES = 64 << 10
#: names of the streams of one pipe for both, and of a pipe for each.
_MERGED, _SPLIT = ("out",), ("out", "err")
#: exit code of a process that was killed.
KILLED_EXIT_CODE = 128 + signal.SIGKILL


class Status(StrEnum):
    """How a task has ended, in IronWorker's words."""

    COMPLETE = "complete"
    ERROR = "error"
    TIMEOUT = "timeout"
    KILLED = "killed"
    CANCELLED = "cancelled"


class End(msgspec.Struct, frozen=True):
    """The end of a task.

    Args:
        status: how.
        exit_code: of its first process; None when it has none of its own.
        message: why, unless it is complete.
    """

    status: Status
    exit_code: int | None = None
    message: str = ""


class Bounds(msgspec.Struct, frozen=True):
    """When a task is ended.

    Args:
        timeout_s: seconds that it may take.
        grace_s: seconds between SIGTERM and SIGKILL when it is cancelled.
        limits: what else it may use.
        folder: where it may write.
        splits_output: tell what it writes to stdout from the rest, at the price of their order.
    """

    timeout_s: float
    grace_s: float
    limits: Limits
    folder: Path
    splits_output: bool = False


class TaskRun:
    """One task in the keeper of a slot; on one thread.

    Args:
        keeper: runs it.
        bounds: when it is ended.
        send: gets what it writes.
        is_cancelled: whether somebody wants it to stop.
        clock: for its time.
    """

    def __init__(
        self, keeper: Keeper, bounds: Bounds, send: Send, is_cancelled: Callable[[], bool], clock: Clock
    ) -> None:
        self._keeper, self._bounds, self._clock = keeper, bounds, clock
        self._pieces = LogPieces(send, bounds.limits.log_mib << 20)
        self._is_cancelled = is_cancelled
        self._begin_mono_s = clock.mono_s()
        self._usage = Usage(bounds.limits, keeper.pid, bounds.folder, self._begin_mono_s)
        self._why: End | None = None
        self._kill_at_mono_s: float | None = None
        self._pipes: list[int] = []
        self._streams: dict[int, str] = {}
        self._poll = select.poll()

    def run(self, request: Request) -> End:
        """Run it to its end, and return that; when this is interrupted, its keeper has to be ended.

        Raises:
            JobFailed: it cannot be started.
            KeeperLost: its keeper has ended, and it with that.
        """
        try:
            writers = [self._pipe(one) for one in (_SPLIT if self._bounds.splits_output else _MERGED)]
            self._keeper.run(request, writers[0], writers[-1])
            code = self._watched()
            self._drain()
        finally:
            for one in self._pipes:
                os.close(one)
        return self._end(code)

    def _pipe(self, stream: str) -> int:
        """Make a pipe, and return where it is written; we hold that open, too: its end would only wake us."""
        reader, writer = os.pipe()
        self._pipes += [reader, writer]
        os.set_blocking(reader, False)
        self._streams[reader] = stream
        self._poll.register(reader, select.POLLIN)
        return writer

    def _watched(self) -> int:
        """Read and look until the task has ended; return its exit code."""
        news = self._keeper.fileno()
        self._poll.register(news, select.POLLIN)
        wait_s = TICK_S
        while True:
            ready = [one for one, _ in self._poll.poll(wait_s * 1000)]
            for one in ready:
                if one != news:
                    self._read(one)
            if news in ready:
                return self._keeper.exit_code()
            now = self._clock.mono_s()
            due_s = self._pieces.send_due(now)
            self._look(now)
            wait_s = TICK_S if due_s is None else min(due_s, TICK_S)

    def _read(self, reader: int) -> bool:
        """Take what is in a pipe; tell whether there may be more."""
        try:
            data = os.read(reader, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self._pieces.take(self._streams[reader], data)
        return True

    def _drain(self) -> None:
        """Take what is still in the pipes: all who could write to them are gone."""
        for reader in self._streams:
            while self._read(reader):
                continue
        self._pieces.end()

    def _look(self, now_mono_s: float) -> None:
        """End the task if it must end."""
        if self._why is not None:
            if self._kill_at_mono_s is not None and now_mono_s >= self._kill_at_mono_s:
                self._keeper.signal(signal.SIGKILL)
                self._kill_at_mono_s = None
        elif self._is_cancelled():
            self._why = End(Status.CANCELLED, message="stopped on request")
            self._kill_at_mono_s = now_mono_s + self._bounds.grace_s
            self._keeper.signal(signal.SIGTERM)
        elif now_mono_s - self._begin_mono_s >= self._bounds.timeout_s:
            self._kill(
                End(Status.TIMEOUT, message=f"ran longer than its limit of {self._bounds.timeout_s:g} s")
            )
        elif excess := self._usage.excess(now_mono_s):
            self._kill(End(Status.KILLED, message=f"killed: {excess}"))

    def _kill(self, why: End) -> None:
        self._why = why
        self._keeper.signal(signal.SIGKILL)

    def _end(self, code: int) -> End:
        if self._why is not None:
            return self._why
        if code == 0:
            return End(Status.COMPLETE, 0)
        if code == KILLED_EXIT_CODE:
            return End(Status.KILLED, code, f"killed, by the system or by itself: exit code {code}")
        return End(Status.ERROR, code, f"exit code {code}")

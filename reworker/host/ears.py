"""What a supervisor waits for: reports of its processes, and being woken, by signals and other threads."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator

from reworker.host.slot import Slot
from reworker.host.wire import ReportPipe


class Ears:
    """One selector over the pipes of reports and a socket that wakes it; opens nothing before `open`.

    Threads: one; `wake` any, and signal handlers.
    """

    def __init__(self) -> None:
        self.pipes: dict[Slot, ReportPipe] = {}
        self._selector: selectors.BaseSelector | None = None
        self._wakeup: socket.socket | None = None
        self._waker: socket.socket | None = None

    def open(self) -> None:
        """Make what is needed to wait. Safe twice."""
        if self._selector is not None:
            return
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._waker = socket.socketpair()
        for end in (self._wakeup, self._waker):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, None)

    @property
    def waking(self) -> int:
        """Number of what signals are written to; after `open`."""
        assert self._waker is not None
        return self._waker.fileno()

    def descriptors(self) -> list[int]:
        """Return the numbers that a new process has no business with."""
        ends = [one for one in (self._wakeup, self._waker) if one is not None]
        return [*(one.fileno() for one in ends), *(pipe.reading for pipe in self.pipes.values())]

    def wake(self) -> None:
        """End a wait, or the next one."""
        if self._waker is not None:
            with contextlib.suppress(OSError):  # full, so it will wake up; or closed, so it has ended
                self._waker.send(b"\0")

    def add(self, slot: Slot, pipe: ReportPipe) -> None:
        """Hear the reports of a slot's process."""
        assert self._selector is not None
        self.pipes[slot] = pipe
        self._selector.register(pipe.reading, selectors.EVENT_READ, slot)

    def drop(self, slot: Slot) -> None:
        """Hear no more of a slot's process, and close its pipe. Safe twice."""
        pipe = self.pipes.pop(slot, None)
        if pipe is not None and self._selector is not None:
            self._selector.unregister(pipe.reading)
            pipe.close()

    def wait(self, limit_s: float) -> Iterator[Slot]:
        """Wait for something, and yield the slots whose processes have said something or nothing more."""
        assert self._selector is not None
        for key, _ in self._selector.select(max(0.0, limit_s)):
            if isinstance(key.data, Slot):
                yield key.data
            elif self._wakeup is not None:
                with contextlib.suppress(BlockingIOError):
                    self._wakeup.recv(4096)

    def close(self) -> None:
        """Close everything. Safe twice."""
        for slot in list(self.pipes):
            self.drop(slot)
        for one in (self._selector, self._wakeup, self._waker):
            if one is not None:
                one.close()

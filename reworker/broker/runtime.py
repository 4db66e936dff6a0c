"""The broker's time on an asyncio loop, and its beat: commit the store, then let the answers out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from reworker.broker.model import Backlog, Timer
from reworker.clock import Clock, SystemClock

#: bytes that are read at once.
READ_BYTES = 256 << 10


class LoopRuntime:
    """Time, timers and the end of each loop iteration.

    Args:
        backlog: shared by all vhosts.
        jitter_s: put off, by up to this much, what a real broker may reorder.
        before_flush: called before answers leave; True when they may.
    """

    def __init__(self, backlog: Backlog, jitter_s: float, before_flush: Callable[[], bool]) -> None:
        self.backlog, self._jitter_s, self._before_flush = backlog, jitter_s, before_flush
        self._clock: Clock = SystemClock()
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[Callable[[], None], None] = {}
        self._is_due = False
        self._random = random.Random()
        #: for what connections read: a new block for each read would cost more than all the rest of it.
        self.buffer = memoryview(bytearray(READ_BYTES))

    def mono_s(self) -> float:
        """Return monotonic seconds."""
        return self._clock.mono_s()

    def unix_s(self) -> float:
        """Return seconds since 1970."""
        return self._clock.now().timestamp()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Run `call` on the loop after `delay_s` seconds; what it changes is committed and sent."""
        return self._loop.call_later(delay_s, self._run, call)

    def _run(self, call: Callable[[], None]) -> None:
        call()
        self.beat_soon()

    def jitter_s(self) -> float:
        """Return a random time to wait in jitter mode, else 0."""
        return self._random.uniform(0, self._jitter_s) if self._jitter_s else 0.0

    def schedule(self, flush: Callable[[], None]) -> None:
        """Flush a connection at the end of this loop iteration; asked for twice it is done once."""
        self._dirty[flush] = None
        self.beat_soon()

    def beat_soon(self) -> None:
        """Commit and flush at the end of this loop iteration."""
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._beat)

    def _beat(self) -> None:
        self._is_due = False
        dirty, self._dirty = self._dirty, {}
        if not self._before_flush():
            return
        for flush in dirty:
            delay_s = self.jitter_s()
            if delay_s:
                self._loop.call_later(delay_s, self.flush_now, flush)
            else:
                flush()

    def flush_now(self, flush: Callable[[], None]) -> None:
        """Commit and flush one connection without waiting: it is about to close, or was put off."""
        if self._before_flush():
            flush()

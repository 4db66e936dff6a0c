"""Interrupting the thread of a running job from another thread.

An exception is raised in the job's thread between two bytecodes. It cannot interrupt a call that sits in C
(a system call, a long query, a regular expression): it arrives when that call returns.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable

import msgspec

from reworker.errors import JobError

#: turns of a loop in which an exception arrives that waits for this thread; the first one is enough.
ARRIVAL_TURNS = 100

#: guards the state of every interrupt; held for a few instructions.
_changing = threading.Lock()
_raise_in_thread = ctypes.pythonapi.PyThreadState_SetAsyncExc


class Interrupt(msgspec.Struct, eq=False):
    """Guards one stretch of work on one thread; nothing is raised before `begin` or after `end`."""

    _thread_id: int = 0
    _is_pending: bool = False
    _is_tried: bool = False
    _soft: Callable[[], None] | None = None
    #: what was fired, if anything.
    fired: type[JobError] | None = None

    def begin(self) -> None:
        """From here on, this thread may be interrupted."""
        self._thread_id = threading.get_ident()

    def use(self, soft: Callable[[], None] | None) -> None:
        """Have `fire` call `soft` instead of raising: how an event loop's task is cancelled."""
        with _changing:
            self._soft = soft

    def fire(self, kind: type[JobError]) -> bool:
        """Raise `kind` in the thread, from another one; return whether it was in time."""
        self._is_tried = True  # before the look at the thread: `end` looks the other way round
        with _changing:
            if not self._thread_id:
                return False
            self.fired = kind
            if self._soft is not None:
                self._soft()
                return True
            self._is_pending = True
            _raise_in_thread(ctypes.c_ulong(self._thread_id), ctypes.py_object(kind))
            return True

    def fire_soft(self, kind: type[JobError]) -> None:
        """Like `fire`, but never raise in the middle of anything."""
        with _changing:
            if self._soft is not None:
                self.fired = kind
                self._soft()

    def end(self) -> None:
        """Allow no more interruptions, and swallow one that has been fired and not arrived yet.

        Taking it back by the interpreter's own means leaves CPython 3.11 looking for it for ever.
        """
        self._thread_id = 0
        if not self._is_tried:
            return
        with _changing:
            is_pending, self._is_pending = self._is_pending, False
        if is_pending:
            with contextlib.suppress(JobError):
                for _ in range(ARRIVAL_TURNS):
                    pass

"""What user code may change about the whole process, and putting it back: folder, streams, handlers."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from logging import Logger

from reworker.logs import STDERR, STDOUT, reopened

#: bytes of the longest path. Source: PATH_MAX of Linux.
_PATH_BYTES = 4096
#: bytes that hold a `struct sigaction` on any Linux; the handler stands first.
_SIGACTION_BYTES = 256


class Folder:
    """The folder the process works in; jobs start in it, whatever the one before has done.

    It is looked at after every job, by a call that keeps the interpreter's lock: `os.getcwd` gives it away,
    and getting it back may take longer than the job.

    Args:
        logger: is told when it was changed.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._buffer = ctypes.create_string_buffer(_PATH_BYTES)
        self._getcwd = ctypes.PyDLL(None).getcwd
        self._getcwd.restype = ctypes.c_bool
        self._path = self._found()

    def restore(self) -> None:
        """Go back when a job has gone somewhere else; only on one thread."""
        buffer = self._buffer
        found = buffer.value if self._getcwd(buffer, _PATH_BYTES) else b""
        if found != self._path:
            with contextlib.suppress(OSError):  # ours may be gone too
                os.chdir(self._path)
            name = os.fsdecode(found) or "one that is gone"
            self._logger.warning("a job changed the working folder to %s; it is put back", name)

    def _found(self) -> bytes:
        return self._buffer.value if self._getcwd(self._buffer, _PATH_BYTES) else b""


def restore_streams(logger: Logger) -> None:
    """Open stdout and stderr again when a job has closed them: the next one may print.

    Args:
        logger: is told.
    """
    if not (sys.stdout.closed or sys.stderr.closed):
        return
    for name, descriptor in (("stdout", STDOUT), ("stderr", STDERR)):
        if getattr(sys, name).closed:
            fresh = reopened(descriptor)
            setattr(sys, name, fresh)
            setattr(sys, f"__{name}__", fresh)
            logger.warning("a job closed sys.%s; it is open again", name)


class SignalKeeper:
    """Signal handlers as they are now; code in C may put others in their place, and a stop would be lost.

    Args:
        numbers: signals to look after.
        logger: is told when one was changed.
    """

    def __init__(self, numbers: Iterable[signal.Signals], logger: Logger) -> None:
        self._logger = logger
        self._sigaction = ctypes.CDLL(None).sigaction
        self._kept = {number: self._handler_of(number) for number in numbers}

    def restore(self) -> None:
        """Put back what was changed; only on the main thread."""
        for number, handler in self._kept.items():
            if self._handler_of(number) != handler:
                signal.signal(number, signal.getsignal(number))
                self._logger.warning("a job changed the handler of %s; it is put back", number.name)

    def _handler_of(self, number: signal.Signals) -> bytes:
        action = ctypes.create_string_buffer(_SIGACTION_BYTES)
        self._sigaction(int(number), None, action)
        return action.raw[: ctypes.sizeof(ctypes.c_void_p)]

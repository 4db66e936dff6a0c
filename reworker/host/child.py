"""A process of a host: forked off, bound to the life of its parent, with signals of its own."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence

logger = logging.getLogger(__name__)

#: exit code of a child whose work raised what nobody expected. Source: sysexits.h, EX_SOFTWARE.
CRASH_EXIT_CODE = 70
#: signals that a host handles, and a child in its own way.
HANDLED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)
#: of prctl. Source: linux/prctl.h.
_PR_SET_PDEATHSIG = 1


def fork(work: Callable[[], int], close: Sequence[int] = ()) -> int:
    """Start a process that does some work and ends with the exit code that this returns; return its id.

    It is killed when the calling thread ends, however that happens, so call this on the main thread. It
    leads a process group of its own: what is typed at the parent's terminal reaches the parent alone.

    Args:
        work: done in the child.
        close: file descriptors that are the parent's business.

    Raises:
        OSError: no process can be made.
    """
    parent = os.getpid()
    with _held_signals():
        pid = os.fork()
        if pid:
            return pid
        # From here on in the child, which must not return, whatever happens.
        code = CRASH_EXIT_CODE
        try:
            _settle_in(parent, close)
            code = work()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else CRASH_EXIT_CODE
        except BaseException:  # the top of the child
            logger.exception("a process of the host cannot go on")
        finally:
            _leave(code)
    raise AssertionError("a forked process has come back")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; leave at once when that has happened."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(CRASH_EXIT_CODE)


def _settle_in(parent: int, close: Sequence[int]) -> None:
    die_with(parent)
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    for descriptor in close:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


@contextlib.contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back: one that came in the child before it has settled in would count as the parent's."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def _leave(code: int) -> None:
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)

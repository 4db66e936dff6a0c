"""Signals of the process, as contexts: SIGTERM and SIGINT stop, SIGHUP does not, SIGUSR1 shows all stacks."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

#: seconds the main thread waits in one stretch. A signal that comes just before a wait in C begins does not
#: interrupt it, and its handler runs when the wait is over.
SIGNAL_CHECK_S = 0.5
#: exit code after a second SIGTERM or SIGINT.
AT_ONCE_EXIT_CODE = 1


class StopRequest:
    """What a signal handler makes and the main thread waits for, without a lock that both could want."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[None] = queue.SimpleQueue()

    def make(self) -> None:
        """Let `wait` return; any thread, also inside of a signal handler."""
        self._queue.put(None)

    def wait(self) -> None:
        """Wait for the request, in short stretches: see `SIGNAL_CHECK_S`."""
        while True:
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=SIGNAL_CHECK_S)


class StopRequested(BaseException):
    """The process was told to stop before it had begun."""


@contextlib.contextmanager
def stop_signals(request_stop: Callable[[], None]) -> Iterator[None]:
    """Call `request_stop` at the first SIGTERM or SIGINT; end the process at once at the second.

    SIGHUP, which ends a process by default, changes nothing: there are no settings to read again. The old
    handlers come back at the end. Off the main thread nothing happens: signals belong to that.

    Args:
        request_stop: called inside the signal handler; must not take a lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if seen:
            os._exit(AT_ONCE_EXIT_CODE)
        seen.append(number)
        request_stop()

    old: dict[int, Any] = {one: signal.signal(one, on_signal) for one in (signal.SIGTERM, signal.SIGINT)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        # no SIG_IGN: programs that we start would inherit it
        old[signal.SIGHUP] = signal.signal(signal.SIGHUP, _ignore)
    has_dump = _dump_stacks_on_usr1()
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if has_dump:
            faulthandler.unregister(signal.SIGUSR1)


@contextlib.contextmanager
def leave_on_signals() -> Iterator[None]:
    """Leave the block with `StopRequested` at SIGTERM or SIGINT: for waits that have nothing to finish.

    The old handlers come back at the end. Off the main thread nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise StopRequested

    old: dict[int, Any] = {one: signal.signal(one, on_signal) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return None


def _dump_stacks_on_usr1() -> bool:
    try:
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return False  # stderr is no real file
    return True

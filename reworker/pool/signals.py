"""Signals of the process, as contexts: SIGTERM and SIGINT stop, SIGUSR1 shows all stacks."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

#: exit code after a second SIGTERM or SIGINT.
AT_ONCE_EXIT_CODE = 1


class StopRequested(BaseException):
    """The process was told to stop before it had begun."""


@contextlib.contextmanager
def stop_signals(request_stop: Callable[[], None]) -> Iterator[None]:
    """Call `request_stop` at the first SIGTERM or SIGINT; end the process at once at the second.

    The old handlers come back at the end. Off the main thread nothing happens: signals belong to that.

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


def _dump_stacks_on_usr1() -> bool:
    try:
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return False  # stderr is no real file
    return True

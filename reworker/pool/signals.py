"""Signals of the process, as contexts: SIGTERM and SIGINT stop, the others are up to who runs.

Without another order SIGHUP does nothing and SIGUSR1 shows all stacks.
"""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import io
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
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


class Order(enum.Enum):
    """What a running pool may be told."""

    STOP = "stop"
    #: take no new work.
    QUIET = "quiet"
    #: take new work again.
    RESUME = "resume"
    #: read the settings again.
    RELOAD = "reload"
    #: show what every thread is at.
    SHOW_STACKS = "show stacks"


class Orders:
    """Orders on their way to the main thread, without a lock that a signal handler could want too."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def give(self, order: Order) -> None:
        """Leave an order; any thread, also inside of a signal handler."""
        self._queue.put(order)

    def next(self, timeout_s: float = SIGNAL_CHECK_S) -> Order | None:
        """Return the oldest order, or None when none comes in time; 0 does not wait."""
        with contextlib.suppress(queue.Empty):
            return self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        return None


class StopRequested(BaseException):
    """The process was told to stop before it had begun."""


def leave_at_once() -> None:
    """End this process without cleaning up."""
    os._exit(AT_ONCE_EXIT_CODE)


@contextlib.contextmanager
def stop_signals(
    request_stop: Callable[[], None],
    *,
    leave: Callable[[], None] = leave_at_once,
    others: Mapping[signal.Signals, Callable[[], None]] | None = None,
) -> Iterator[None]:
    """Call `request_stop` at the first SIGTERM or SIGINT, and `leave` at the second.

    A SIGHUP that was ignored from the start, as by nohup, stays so. The old handlers come back at the end.
    Off the main thread nothing happens: signals belong to that.

    Args:
        request_stop: called inside the signal handler; must not take a lock.
        leave: has to end the process at once.
        others: what to call for other signals, inside the handler too. Without SIGHUP that does nothing,
            instead of ending the process; without SIGUSR1 that writes all stacks to stderr.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []

    def on_stop(number: int, _frame: FrameType | None) -> None:
        if seen:
            leave()
        seen.append(number)
        request_stop()

    calls = {signal.SIGHUP: _nothing, **(others or {})}
    handlers: dict[signal.Signals, Any] = {one: _handler(call) for one, call in calls.items()}
    handlers |= {signal.SIGTERM: on_stop, signal.SIGINT: on_stop}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        del handlers[signal.SIGHUP]
    # no SIG_IGN: programs that we start would inherit it
    old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    has_dump = signal.SIGUSR1 not in handlers and _dump_stacks_on_usr1()
    try:
        yield
    finally:
        _put_back(old)
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

    old = {one: signal.signal(one, on_signal) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        _put_back(old)


def _put_back(old: Mapping[signal.Signals, Any]) -> None:
    for number, handler in old.items():
        signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _handler(call: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
    return lambda _number, _frame: call()


def _nothing() -> None:
    return None


def _dump_stacks_on_usr1() -> bool:
    try:
        faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    except (AttributeError, ValueError, io.UnsupportedOperation):
        return False  # stderr is no real file
    return True

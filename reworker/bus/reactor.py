"""The I/O thread: runs pika's loop, and calls handed over by other threads, woken once per batch."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from pika.adapters.select_connection import IOLoop

logger = logging.getLogger(__name__)

Call = Callable[[], object]


class Reactor:
    """One daemon thread around one pika `IOLoop`.

    Started once; ends with `stop`. Only `call_soon`, `wake`, `stop` and `join` may be used by other threads.

    Args:
        name: of the thread.
        on_turn: called at the end of each turn of the loop, for batched work.
        on_crash: called with an exception that escaped; the loop goes on.
        on_end: called last, when the loop has ended.
    """

    def __init__(
        self, name: str, *, on_turn: Call, on_crash: Callable[[Exception], object], on_end: Call
    ) -> None:
        self.loop = IOLoop()
        self._on_turn, self._on_crash, self._on_end = on_turn, on_crash, on_end
        self._calls: deque[Call] = deque()
        #: whether a turn is under way, or about to be.
        self.is_awake = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call_soon(self, call: Call) -> None:
        """Run a call on the thread, in order; any thread."""
        self._calls.append(call)
        self.wake()

    def call_later(self, delay_s: float, call: Call) -> Call:
        """Run a call on the thread after some seconds; returns a function that cancels it."""
        handle = self.loop.call_later(delay_s, call)
        return lambda: self.loop.remove_timeout(handle)

    def wake(self) -> None:
        """Make the loop turn, unless it is about to; any thread.

        Work has to be queued before: the flag is cleared before the queues are looked at.
        """
        if not self.is_awake:
            self.is_awake = True
            self.loop.add_callback_threadsafe(_nothing)

    def mark_awake(self) -> None:
        """Note that a turn is under way: work queued from here on needs no wake-up."""
        self.is_awake = True

    def stop(self) -> None:
        """End the loop after this turn; any thread."""
        self._is_stopping = True
        self.wake()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread; returns at once when called on it."""
        if not self.is_current():
            self._thread.join(timeout_s)

    def is_current(self) -> bool:
        """Tell whether this is the I/O thread."""
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        self.loop.activate_poller()
        while not self._is_stopping:
            try:
                self._turn()
            except Exception as error:  # a thread top: an escaped error must not end the process's I/O
                logger.exception("the I/O thread met an error; the connection is made anew")
                self._on_crash(error)
        self.loop.deactivate_poller()
        self.loop.close()
        self._on_end()

    def _turn(self) -> None:
        self.loop.poll()
        self.loop.process_timeouts()
        self.is_awake = False
        while self._calls:
            self._calls.popleft()()
        self._on_turn()


def _nothing() -> None:
    return None

"""Doing what may take long for those who cannot wait long: one thing at a time, each with a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from reworker.errors import BusError

T = TypeVar("T")


class TooSlow(BusError):
    """The broker did not answer in time.

    Args:
        what: was wanted.
        within_s: seconds that were waited.
        is_begun: it was begun, and may yet be done.
    """

    def __init__(self, what: str, within_s: float, *, is_begun: bool) -> None:
        self.is_begun = is_begun
        rest = "it may yet be done: look again" if is_begun else "nothing was done: try again"
        super().__init__(f"{what}: the broker did not answer within {within_s:g} s; {rest}")


class Errands:
    """Does one thing after another, each on a thread that ends with it; any thread may ask."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def run(self, deed: Callable[[], T], what: str, within_s: float) -> T:
        """Do something, and return what it returns.

        Args:
            deed: to do; it goes on when it takes longer.
            what: it is, for the error.
            within_s: seconds to wait for its turn and its end.

        Raises:
            TooSlow: it took longer.
        """
        future: Future[T] = Future()
        worker = threading.Thread(
            target=self._perform, args=(deed, future, within_s), name="errand", daemon=True
        )
        worker.start()
        try:
            return future.result(within_s)
        except (TimeoutError, CancelledError):
            if future.done() and not future.cancelled():
                raise  # its own
            raise TooSlow(what, within_s, is_begun=not future.cancel()) from None

    def _perform(self, deed: Callable[[], T], future: Future[T], within_s: float) -> None:
        if not self._turn.acquire(timeout=within_s):
            future.cancel()
            return
        try:
            if future.set_running_or_notify_cancel():
                future.set_result(deed())
        except BaseException as error:  # noqa: BLE001  # top of the thread; given to who waits
            future.set_exception(error)
        finally:
            self._turn.release()

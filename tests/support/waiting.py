"""Waiting on a condition instead of sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: seconds between two looks at the condition.
POLL_S = 0.01


def wait_until(
    predicate: Callable[[], T], timeout_s: float = 10.0, message: str = "", *, poll_s: float = POLL_S
) -> T:
    """Call ``predicate`` until its answer is true, and return that answer.

    Args:
        predicate: the condition; an exception in it ends the wait at once.
        timeout_s: seconds after which the wait fails.
        message: what was waited for, for the report of the failure.
        poll_s: seconds between two looks.

    Raises:
        TimeoutError: the condition did not come true; names the last answer.
    """
    deadline_mono_s = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= deadline_mono_s:
            what = message or getattr(predicate, "__name__", "the condition")
            raise TimeoutError(f"after {timeout_s:g} s still waiting for: {what} (last answer: {answer!r})")
        time.sleep(poll_s)

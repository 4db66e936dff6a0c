"""Waiting on a condition instead of sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: seconds that a wait may take unless its caller says otherwise: enough on a busy machine, and no loss when
#: all goes well.
PATIENCE_S = 30.0
#: seconds between two looks at the condition, at first and later: many looks cost as much as what is
#: waited for, and a look every 20th part of the time is late by no more than that.
FIRST_POLL_S, LAST_POLL_S = 0.01, 0.05
POLL_SHARE = 1 / 20


def wait_until(
    predicate: Callable[[], T],
    timeout_s: float = PATIENCE_S,
    message: str = "",
    *,
    poll_s: float | None = None,
) -> T:
    """Call ``predicate`` until its answer is true, and return that answer.

    Args:
        predicate: the condition; an exception in it ends the wait at once.
        timeout_s: seconds after which the wait fails.
        message: what was waited for, for the report of the failure.
        poll_s: seconds between two looks; None looks less often when it takes long.

    Raises:
        TimeoutError: the condition did not come true; names the last answer.
    """
    begin_mono_s = time.monotonic()
    while True:
        answer = predicate()
        if answer:
            return answer
        waited_s = time.monotonic() - begin_mono_s
        if waited_s >= timeout_s:
            what = message or getattr(predicate, "__name__", "the condition")
            raise TimeoutError(f"after {timeout_s:g} s still waiting for: {what} (last answer: {answer!r})")
        time.sleep(poll_s or min(max(FIRST_POLL_S, waited_s * POLL_SHARE), LAST_POLL_S))

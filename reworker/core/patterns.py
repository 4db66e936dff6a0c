"""Matching patterns that the authors of playbooks wrote, in a process of their own.

Some patterns, such as ``(a+)+$``, take hours for a text of 30 characters, and Python's matcher lets no other
thread of its process work meanwhile: one job would stop the core.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from reworker.clock import SystemClock

#: seconds for one match, with the start of its process on a busy machine; a usual one takes 0.02.
LIMIT_S = 5.0
#: seconds for all matches of one playbook: it may have 10,000 of them.
TOTAL_S = 20.0
#: characters of a pattern and its text that are remembered with their answer.
_KEPT_CHARACTERS = 4096

_PROGRAM = "import json, re, sys; pattern, text = json.load(sys.stdin); print(bool(re.search(pattern, text)))"


_clock = SystemClock()
_ends_at_mono_s: ContextVar[float] = ContextVar("patterns", default=float("inf"))


@contextmanager
def limited(total_s: float = TOTAL_S) -> Iterator[None]:
    """Let all matches within the block take so long together; a block within another has the time of that."""
    ends_at_mono_s = min(_ends_at_mono_s.get(), _clock.mono_s() + total_s)
    token = _ends_at_mono_s.set(ends_at_mono_s)
    try:
        yield
    finally:
        _ends_at_mono_s.reset(token)


def is_match(pattern: str, text: str, limit_s: float = LIMIT_S) -> bool:
    """Tell whether a pattern is found in a text.

    Raises:
        TimeoutError: it takes too long, or all of its block together do.
        RecursionError: it is beyond what Python can do.
    """
    if len(pattern) + len(text) > _KEPT_CHARACTERS:
        return _matched(pattern, text, limit_s)
    return _remembered(pattern, text, limit_s)


def _matched(pattern: str, text: str, limit_s: float) -> bool:
    left_s = _ends_at_mono_s.get() - _clock.mono_s()
    if left_s <= 0:
        raise TimeoutError("the patterns of this playbook take too long together")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps([pattern, text]),
            capture_output=True,
            encoding="ascii",
            timeout=min(limit_s, left_s),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"its pattern takes longer than {limit_s:g} s") from error
    if done.returncode:
        raise RecursionError("its pattern is beyond what Python can match")
    return done.stdout.strip() == "True"


_remembered = lru_cache(maxsize=256)(_matched)

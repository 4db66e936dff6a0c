"""Matching patterns that the authors of playbooks wrote, in a process of their own.

Some patterns, such as ``(a+)+$``, take hours for a text of 30 characters, and Python's matcher lets no other
thread of its process work meanwhile: one job would stop the core.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import lru_cache

#: seconds for one match, with the start of its process on a busy machine; a usual one takes 0.02.
LIMIT_S = 5.0

_PROGRAM = "import json, re, sys; pattern, text = json.load(sys.stdin); print(bool(re.search(pattern, text)))"


@lru_cache(maxsize=256)
def is_match(pattern: str, text: str, limit_s: float = LIMIT_S) -> bool:
    """Tell whether a pattern is found in a text.

    Raises:
        TimeoutError: it takes too long.
        RecursionError: it is beyond what Python can do.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=json.dumps([pattern, text]),
            capture_output=True,
            encoding="ascii",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"its pattern takes longer than {limit_s:g} s") from error
    if done.returncode:
        raise RecursionError("its pattern is beyond what Python can match")
    return done.stdout.strip() == "True"

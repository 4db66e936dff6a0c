"""Dead letters a page at a time, the oldest first. Pure.

A cursor says behind which letter a page begins, and where that was: the letter may be gone by then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reworker.errors import ConfigError
from reworker.topology.letters import Filter, Letter

_CURSOR = re.compile(r"([0-9]{1,9})-([0-9a-f.]{1,40})")


def letters_page(
    letters: Sequence[Letter], wanted: Filter, *, limit: int, cursor: str = ""
) -> tuple[list[Letter], str]:
    """Return the letters of a page, and the cursor of the next one; empty at the end.

    Args:
        letters: all.
        wanted: which are meant.
        limit: of a page.
        cursor: of the page before; empty is the first page.

    Raises:
        ConfigError: it is no cursor.
    """
    taken = [one for one in letters if wanted.takes(one)]
    begin = _begin(taken, cursor) if cursor else 0
    rows, end = taken[begin : begin + limit], begin + limit
    return rows, f"{end}-{rows[-1].id}" if end < len(taken) else ""


def _begin(letters: Sequence[Letter], cursor: str) -> int:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise ConfigError("it is no cursor of this list; begin again without it", key="cursor")
    ids = [one.id for one in letters]
    return ids.index(match[2]) + 1 if match[2] in ids else min(int(match[1]), len(ids))

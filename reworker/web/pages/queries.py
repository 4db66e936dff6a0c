"""Numbers in the addresses of pages."""

from __future__ import annotations

from reworker.web.pages.visits import Visit

#: the largest number that a row of ours can have.
LAST_NUMBER = 2**31 - 1
_DIGIT_COUNT = 10


def number_in(visit: Visit, name: str) -> int:
    """Return a number in the query of the address; what is none counts as 0."""
    text = visit.query(name)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGIT_COUNT):
        return 0
    return min(int(text), LAST_NUMBER)

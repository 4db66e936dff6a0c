"""What clients send, read as IronWorker reads it: a number that is out of range is not set. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from reworker.core.tasks.options import MOST_TIMEOUT_S, PRIORITIES
from reworker.web.errors import HttpProblem

#: rows of a page, by default and at most; pages at most.
PER_PAGE, MOST_PER_PAGE, MOST_PAGES = 30, 100, 1_000_000
#: texts that stand for no in a filter; any other is yes: a client in Go sends ``%!d(bool=true)``.
_NO = frozenset({"", "0", "false"})
#: seconds since 1970 up to the year 9000.
_MOST_EPOCH_S = 221_845_392_000


def refuse(field: str, reason: str, status: int = 400) -> HttpProblem:
    """Return the error about a value of a request."""
    return HttpProblem(status, "invalid-value", f"{field}: {reason}")


def missing(field: str, what: str) -> HttpProblem:
    """Return the error about a value that must be there; IronWorker's status for it is 406."""
    return refuse(field, f"is missing; {what}", 406)


def text_of(values: Mapping[str, Any], key: str, default: str = "") -> str:
    """Return a text; null is none, and what is no text is taken as JSON."""
    value = values.get(key)
    if value is None:
        return default
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number_of(values: Mapping[str, Any], key: str) -> float | None:
    """Return a number, or a text that is one; None when it is not set.

    Raises:
        HttpProblem: 400 it is something else.
    """
    value = values.get(key)
    if value is None or value == "":
        return None
    found = _parsed(value) if isinstance(value, str) else _real(value)
    if found is None:
        raise refuse(key, f"takes a number, found {value!a:.60}")
    return found


def _parsed(text: str) -> float | None:
    is_plain = len(text) <= 40 and text.isascii() and "_" not in text
    try:
        return _real(float(text)) if is_plain else None
    except ValueError:
        return None


def _real(value: Any) -> float | None:
    """Return a number that is one, and not too large to be counted with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def whole_of(values: Mapping[str, Any], key: str) -> int | None:
    """Return a whole number; see `number_of`."""
    found = number_of(values, key)
    return None if found is None else int(found)


def within(found: float | None, least: float, most: float = math.inf) -> float | None:
    """Return a number, or None when it is out of range, as IronWorker says that it is not set."""
    return found if found is not None and least <= found <= most else None


def flag_of(values: Mapping[str, Any], key: str) -> bool:
    """Tell whether something is wanted."""
    value = values.get(key)
    return value.lower() not in _NO if isinstance(value, str) else bool(value)


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """Return (limit, offset) of a page; pages are counted from 0.

    Raises:
        HttpProblem: 400 no number, or no page.
    """
    count = whole_of(query, "per_page")
    limit = PER_PAGE if count is None or count < 1 else min(count, MOST_PER_PAGE)
    page = whole_of(query, "page") or 0
    if not 0 <= page <= MOST_PAGES:
        raise refuse("page", f"0 to {MOST_PAGES}")
    return limit, page * limit


def epoch_of(query: Mapping[str, str], key: str) -> datetime | None:
    """Return a time that was given as seconds since 1970.

    Raises:
        HttpProblem: 400 no such time.
    """
    found = number_of(query, key)
    if found is None:
        return None
    if not 0 <= found <= _MOST_EPOCH_S:
        raise refuse(key, "takes seconds since 1970")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=found)


def time_of(values: Mapping[str, Any], key: str) -> datetime | None:
    """Return a time of RFC 3339, or what clients make of it; without a zone it is UTC, empty is none.

    Raises:
        HttpProblem: 400 no time.
    """
    value = values.get(key)
    if value is None or value == "":
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) and len(value) <= 64 else None
    except ValueError:
        found = None
    if found is None:
        raise refuse(key, f"takes a time such as 2030-01-01T12:00:00Z, found {value!a:.60}")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def priority_of(values: Mapping[str, Any], key: str = "priority") -> int | None:
    """Return a priority; one that does not exist is not set."""
    found = whole_of(values, key)
    return found if found in PRIORITIES else None


def timeout_of(values: Mapping[str, Any]) -> float | None:
    """Return the seconds that a task may run: 0 is as long as can be, less is not set."""
    found = number_of(values, "timeout")
    if found is None or found < 0:
        return None
    return min(found, MOST_TIMEOUT_S) or MOST_TIMEOUT_S

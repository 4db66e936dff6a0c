"""Pages of lists, newest first: ``{"items": [...], "next": cursor or null}``.

A cursor says behind which row a page begins. It counts for the list and the filters that it was given for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
from msgspec import Meta

from reworker.ids import is_id
from reworker.web.errors import HttpProblem

#: rows of a page when nobody says how many, and at most.
PAGE_COUNT, MOST_COUNT = 50, 1000
#: bytes of the digest by which a cursor knows its list.
_DIGEST_BYTES = 6
_CURSOR_CHARACTERS = 48
#: rows that a database can pass over.
_LAST_OFFSET = 2**31 - 1

Limit = Annotated[int, Meta(ge=1, le=MOST_COUNT, description=f"Rows of a page: 1 to {MOST_COUNT}.")]
Cursor = Annotated[
    str, Meta(max_length=100, description="`next` of the page before, asked with the same filters.")
]

Row = TypeVar("Row")
Shown = TypeVar("Shown")


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of a list, and from where."""

    limit: Limit = PAGE_COUNT
    cursor: Cursor = ""


class Paged(Protocol):
    """A query that says how much of a list, and from where; others beside `PageQuery` do, too."""

    @property
    def limit(self) -> int:
        """Rows of a page."""
        ...

    @property
    def cursor(self) -> str:
        """Of the page; empty is the first."""
        ...


def place_of(query: Paged, kind: str) -> str:
    """Return the id behind which the page begins; empty at the beginning of the list.

    Args:
        query: of the request.
        kind: of the list, such as ``deployments``.

    Raises:
        HttpProblem: 422 the cursor is none of this list, or of other filters.
    """
    if not query.cursor:
        return ""
    try:
        raw = base64.b64decode(query.cursor.encode("ascii"), altchars=b"-_", validate=True)
        own_id, digest = raw[_DIGEST_BYTES:].hex(), raw[:_DIGEST_BYTES]
    except (binascii.Error, UnicodeEncodeError):
        own_id, digest = "", b""
    if len(query.cursor) > _CURSOR_CHARACTERS or not is_id(own_id) or digest != _digest(query, kind):
        reason = "the cursor is not one that this list gave for these filters; begin again without it"
        raise HttpProblem(422, "invalid-cursor", reason, {"path": "cursor"})
    return own_id


def page_from(
    query: Paged,
    kind: str,
    rows: Sequence[Row],
    *,
    key: Callable[[Row], str],
    show: Callable[[Row], Shown],
) -> tuple[list[Shown], str | None]:
    """Return the items of a page and the cursor of the next one, or None at the end.

    Args:
        query: of the request.
        kind: of the list.
        rows: one more than the page has, if there are as many.
        key: gives the id of a row.
        show: makes what is shown of it.
    """
    shown = rows[: query.limit]
    # the core gives no more than this, so whether there are more is not known then
    has_more = len(rows) > len(shown) or len(shown) == MOST_COUNT
    return [show(one) for one in shown], cursor_at(query, kind, key(shown[-1])) if has_more else None


def offset_of(query: Paged, kind: str) -> int:
    """Return how many rows come before the page, in a list whose cursors count rows.

    Raises:
        HttpProblem: see `place_of`.
    """
    return min(int(place_of(query, kind) or "0", 16), _LAST_OFFSET)


def page_at(
    query: Paged, kind: str, rows: Sequence[Row], offset: int, show: Callable[[Row], Shown]
) -> tuple[list[Shown], str | None]:
    """Return the items of a page and the cursor of the next one, in a list whose cursors count rows.

    Args:
        query: of the request.
        kind: of the list.
        rows: one more than the page has, if there are as many.
        offset: of the page.
        show: makes what is shown of a row.
    """
    shown = rows[: query.limit]
    following = cursor_at(query, kind, f"{offset + len(shown):024x}")
    return [show(one) for one in shown], following if len(rows) > len(shown) else None


def cursor_at(query: Paged, kind: str, own_id: str) -> str:
    """Return the cursor of the page that begins behind an id."""
    return base64.urlsafe_b64encode(_digest(query, kind) + bytes.fromhex(own_id)).decode("ascii")


def _digest(query: Paged, kind: str) -> bytes:
    filters: dict[str, Any] = msgspec.to_builtins(query)
    said = {name: value for name, value in filters.items() if name not in ("limit", "cursor")}
    text = msgspec.json.encode([kind, said], order="sorted")
    return hashlib.sha256(text).digest()[:_DIGEST_BYTES]

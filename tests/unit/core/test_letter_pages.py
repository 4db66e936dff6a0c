"""Dead letters a page at a time, and what can be read from one."""

from __future__ import annotations

import msgspec
import pytest

from reworker.bus.browse import Found
from reworker.bus.contract import Properties
from reworker.core.letter_desk import SHOWN_BYTES, view_of
from reworker.core.letter_pages import letters_page
from reworker.errors import ConfigError
from reworker.topology.letters import Filter, Letter, letter_of

ALL = Filter()


def letters(count: int) -> list[Letter]:
    one = letter_of(Properties(), "k", b"x")
    return [
        msgspec.structs.replace(one, id=f"{number:012x}", queue="odd" if number % 2 else "even")
        for number in range(count)
    ]


def ids(rows: list[Letter]) -> list[int]:
    return [int(one.id, 16) for one in rows]


def test_every_letter_is_on_one_page() -> None:
    found, cursor, seen = letters(7), "", list[int]()
    for _ in range(3):
        rows, cursor = letters_page(found, ALL, limit=3, cursor=cursor)
        seen += ids(rows)
    assert (seen, cursor) == ([*range(7)], "")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_page_is_the_last_when_nothing_follows(count: int) -> None:
    rows, cursor = letters_page(letters(count), ALL, limit=3)
    assert (ids(rows), cursor) == ([*range(count)], "")


def test_filter_holds_on_all_pages() -> None:
    odd = Filter(queue="odd")
    rows, cursor = letters_page(letters(9), odd, limit=2)
    assert ids(rows) == [1, 3]
    assert ids(letters_page(letters(9), odd, limit=2, cursor=cursor)[0]) == [5, 7]


def test_page_goes_on_where_it_was_when_letters_before_it_are_gone() -> None:
    found = letters(9)
    _, cursor = letters_page(found, ALL, limit=3)
    assert ids(letters_page(found[2:], ALL, limit=3, cursor=cursor)[0]) == [3, 4, 5]
    gone = [one for one in found if one.id != f"{2:012x}"]
    assert ids(letters_page(gone, ALL, limit=3, cursor=cursor)[0]) == [4, 5, 6], "its own letter is gone"
    assert letters_page([], ALL, limit=3, cursor=cursor) == ([], "")


@pytest.mark.parametrize("cursor", ["x", "1", "-1-ab", "1-<script>", "9999999999-ab"])
def test_odd_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(ConfigError, match="no cursor of this list"):
        letters_page(letters(3), ALL, limit=3, cursor=cursor)


@pytest.mark.parametrize(
    ("body", "encoding", "is_editable"),
    [
        (b'{"a": 1}', None, True),
        (b"not json", "utf-8", True),
        (b"\xff\xfe", None, False),
        (b"{}", "gzip", False),
        (b"x" * (SHOWN_BYTES + 1), None, False),
    ],
)
def test_body_can_be_edited_when_it_is_text_that_is_shown_whole(
    body: bytes, encoding: str | None, is_editable: bool
) -> None:
    properties = Properties(content_encoding=encoding, headers={"x": b"\xff"})
    found = Found(1, "k", properties, body)
    view = view_of(letter_of(properties, "k", body), found)
    assert view.is_editable is is_editable
    assert view.properties["headers"] == {"x": "\\xff"}

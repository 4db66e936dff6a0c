"""Lines of output on pages: which are shown, and that nothing in them is more than text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from reworker.core.recorder import LogLine
from reworker.web.pages.deployment_log import (
    LINE_CHARACTERS,
    LogPage,
    LogQuery,
    lines_html,
    log_page,
    text_file,
    visible_text,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Shelf:
    """Lines by number; counts how many were read."""

    def __init__(self, count: int, every: int = 10) -> None:
        self.count, self.every, self.read_count = count, every, 0

    def read(self, after_no: int, limit: int) -> list[LogLine]:
        last = min(after_no + limit, self.count)
        self.read_count += max(last - after_no, 0)
        return [self.line(no) for no in range(after_no + 1, last + 1)]

    def line(self, no: int) -> LogLine:
        word = "Error" if no % self.every == 0 else "fine"
        return LogLine(no, no % 3, AT, f"{word} {no}")

    def page(self, count: int = 100, *, scan_count: int = 20_000, **asked: Any) -> LogPage:
        return log_page(self.read, self.count, LogQuery(**asked), count, scan_count=scan_count)


def numbers(page: LogPage) -> list[int]:
    return [line.no for line in page.lines]


def test_tail_reads_no_more_than_it_shows() -> None:
    shelf = Shelf(1_000_000)
    page = shelf.page()
    assert numbers(page) == list(range(999_901, 1_000_001))
    assert (page.older_before, page.is_end, shelf.read_count) == (999_901, True, 100)


def test_older_pages_follow_each_other_without_a_gap() -> None:
    shelf, before = Shelf(250), 0
    found: list[int] = []
    while True:
        page = shelf.page(before=before)
        found = numbers(page) + found
        before = page.older_before
        if not before:
            break
    assert found == list(range(1, 251))


def test_page_without_lines_is_empty() -> None:
    assert Shelf(0).page() == LogPage((), 0, 0, 0)
    assert numbers(Shelf(3).page(before=1)) == []


@pytest.mark.parametrize(("line", "first", "last"), [(500, 451, 550), (3, 1, 100), (998, 901, 1000)])
def test_line_is_shown_among_its_neighbours(line: int, first: int, last: int) -> None:
    page = Shelf(1000).page(around=line)
    assert (page.lines[0].no, page.lines[-1].no) == (first, last)


def test_search_finds_the_last_lines_first_and_goes_on_where_it_stopped() -> None:
    shelf = Shelf(10_000)
    page = shelf.page(search="error")
    assert numbers(page) == list(range(9010, 10_001, 10))
    older = shelf.page(search="error", before=page.older_before)
    assert numbers(older) == list(range(8010, 9001, 10))


def test_search_ends_after_a_while_when_nothing_fits() -> None:
    shelf = Shelf(1_000_000)
    page = shelf.page(search="no such word", scan_count=5000)
    assert numbers(page) == []
    assert (page.scanned, page.older_before, shelf.read_count) == (5000, 995_001, 5000)


def test_attempt_is_filtered() -> None:
    assert {line.attempt for line in Shelf(500).page(attempt=2).lines} == {2}


def test_control_characters_are_seen_in_a_mark_of_their_own() -> None:
    assert visible_text("a\tb") == "a\tb"
    assert visible_text("\x1b[31mred\r\u202e") == ("<i>\\x1b</i>[31mred<i>\\r</i><i>\\u202e</i>")


def test_markup_in_a_line_is_text() -> None:
    line = LogLine(7, 0, AT, "</code><script>evil()</script>")
    assert lines_html([line], "/deployments/x") == (
        '<p id="L7"><a href="#L7">7</a> <time>03:04:05</time> '
        "<code>&lt;/code&gt;&lt;script&gt;evil()&lt;/script&gt;</code></p>"
    )


def test_long_line_is_cut_and_says_where_the_rest_is() -> None:
    row = lines_html([LogLine(7, 2, AT, "x" * (LINE_CHARACTERS + 5))], "/deployments/d")
    assert '<a href="/deployments/d/log.txt?line=7">5 more characters</a>' in row
    assert row.count("x") == LINE_CHARACTERS + 1


def test_file_has_every_line_once() -> None:
    shelf = Shelf(4500)
    lines = b"".join(text_file(shelf.read, 1, 4500)).decode().splitlines()
    assert len(lines) == 4500
    assert lines[9] == f"10\t{AT.isoformat()}\t1\tError 10"


def test_line_that_came_in_pieces_is_one_row_when_they_follow_each_other():
    pieces = [
        (1, "li", "out-"),
        (2, "ne", "out-"),
        (3, " 1", "out"),
        (4, "next", "out-"),
        (6, "other", "out-"),
    ]
    html = lines_html([LogLine(no, 1, AT, text, stream) for no, text, stream in pieces], "/deployments/x")
    assert re.findall(r"<code>(.*?)</code>", html) == ["line 1", "next", "other"]
    assert re.findall(r'id="L(\d+)"( data-more)?', html) == [
        ("1", ""),
        ("4", " data-more"),
        ("6", " data-more"),
    ]

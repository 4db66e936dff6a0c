"""Lines of output on pages: the end at once, older ones page by page, search, one attempt; never all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from markupsafe import Markup, escape

from reworker.core.recorder import LogLine
from reworker.logs import escaped

#: lines of the pane beside the matrix, of a page, and that a browser keeps at most.
PANE_COUNT, PAGE_COUNT, KEPT_COUNT = 200, 1000, 2000
#: lines that one search looks at before it asks whether to go on, and reads at once.
SCAN_COUNT, CHUNK_COUNT = 200_000, 2000
#: characters of a line that are shown; the rest is in the file.
LINE_CHARACTERS = 2000
#: the largest number that a line can have.
LAST_NO = 2**31 - 1

#: gives lines after a number, up to a limit.
Read = Callable[[int, int], list[LogLine]]


class LogQuery(msgspec.Struct, frozen=True):
    """Which lines; 0 and empty is not asked for.

    Args:
        before: those before this number.
        around: those around this number.
        search: that have this text, whatever its case.
        attempt: of this attempt.
    """

    before: int = 0
    around: int = 0
    search: str = ""
    attempt: int = 0

    @property
    def is_filtered(self) -> bool:
        """Tell whether lines are left out between others."""
        return bool(self.search or self.attempt)

    def fits(self, line: LogLine) -> bool:
        """Tell whether a line is wanted."""
        is_own = not self.attempt or line.attempt == self.attempt
        return is_own and (not self.search or self.search.casefold() in line.text.casefold())


class LogPage(msgspec.Struct, frozen=True):
    """Some lines, in order.

    Args:
        lines: to be shown.
        total: number of the last line that there is.
        older_before: ask for those before this number; 0 when there are none.
        scanned: lines that were looked at.
        is_end: the last line there is, is among those looked at.
    """

    lines: tuple[LogLine, ...]
    total: int
    older_before: int = 0
    scanned: int = 0
    is_end: bool = True


def log_page(read: Read, total: int, query: LogQuery, count: int, *, scan_count: int = SCAN_COUNT) -> LogPage:
    """Return the lines that are asked for, `count` at most.

    Args:
        read: of the deployment.
        total: number of its last line; 0 without lines.
        query: which.
        count: of lines.
        scan_count: lines that are looked at, at most, for those that fit.
    """
    end = _end(total, query, count)
    if query.is_filtered:
        return _found(read, total, query, end, count=count, scan_count=scan_count)
    first = max(end - count, 0)
    lines = tuple(line for line in read(first, end - first) if line.no <= end) if end > first else ()
    older = lines[0].no if lines and lines[0].no > 1 else 0
    return LogPage(lines, total, older, len(lines), is_end=end >= total)


def _end(total: int, query: LogQuery, count: int) -> int:
    """Return the number of the last line that may be shown."""
    if query.around:
        return min(max(query.around + count // 2, count), total)
    return min(query.before - 1, total) if query.before else total


def _found(read: Read, total: int, query: LogQuery, end: int, *, count: int, scan_count: int) -> LogPage:
    """Look for lines from the end on backwards, up to a number of them that takes no long time."""
    found: list[LogLine] = []
    place, last = end, max(end - scan_count, 0)
    while place > last and len(found) < count:
        first = max(place - CHUNK_COUNT, last)
        chunk = [line for line in read(first, place - first) if line.no <= place]
        fitting = [line for line in reversed(chunk) if query.fits(line)]
        room = count - len(found)
        found += fitting[:room]
        place = found[-1].no - 1 if len(fitting) > room else first
    return LogPage(tuple(reversed(found)), total, place + 1 if place else 0, end - place, is_end=end >= total)


def lines_html(lines: tuple[LogLine, ...] | list[LogLine], url: str) -> Markup:
    """Return the rows of lines; made here and not in a template, because there are thousands.

    Args:
        lines: in order.
        url: of the deployment.
    """
    return Markup("\n").join(_row(pieces, url) for pieces in _whole(lines))


def _whole(lines: Sequence[LogLine]) -> Iterator[list[LogLine]]:
    """Yield the pieces of each line: a process may write one in several, which are stored as they came."""
    pieces: list[LogLine] = []
    for line in lines:
        if pieces and not (pieces[-1].stream.endswith("-") and line.no == pieces[-1].no + 1):
            yield pieces
            pieces = []
        pieces.append(line)
    if pieces:
        yield pieces


#: a row whose line goes on is marked, so that the page adds what comes.
_ROW = Markup('<p id="L{0}"{5}><a href="#L{0}">{0}</a> <time>{1}</time> {2}<code>{3}</code>{4}</p>')
_ATTEMPT = Markup('<a class="of" href="{0}/attempts/{1}" title="Attempt {1}">a{1}</a> ')
_REST = Markup(' <a href="{0}/log.txt?line={1}">{2:,} more characters</a>')


def _row(pieces: list[LogLine], url: str) -> Markup:
    line, text = pieces[0], "".join(one.text for one in pieces)
    shown = text[:LINE_CHARACTERS]
    own = _ATTEMPT.format(url, line.attempt) if line.attempt else Markup("")
    rest_count = len(text) - len(shown)
    rest = _REST.format(url, line.no, rest_count) if rest_count else Markup("")
    more = Markup(" data-more") if pieces[-1].stream.endswith("-") else Markup("")
    return _ROW.format(line.no, line.at.strftime("%H:%M:%S"), own, visible_text(shown), rest, more)


def visible_text(text: str) -> Markup:
    """Return a line in which control characters are seen as such, each in a mark of its own."""
    if text.isprintable():
        return escape(text)
    return Markup("").join(_pieces(text))


def _pieces(text: str) -> Iterator[Markup]:
    start = 0
    for place, character in enumerate(text):
        if not (character.isprintable() or character == "\t"):
            yield escape(text[start:place])
            yield Markup("<i>{}</i>").format(escaped(character))
            start = place + 1
    yield escape(text[start:])


def text_file(read: Read, first_no: int, total: int) -> Iterator[bytes]:
    """Yield the lines from a number on as plain text, chunk by chunk: ``number time attempt text``."""
    place = first_no - 1
    while place < total:
        chunk = read(place, CHUNK_COUNT)
        if not chunk:
            return
        yield "".join(_plain(line) for line in chunk).encode("utf-8", "replace")
        place = chunk[-1].no


def _plain(line: LogLine) -> str:
    return f"{line.no}\t{line.at.isoformat()}\t{line.attempt}\t{escaped(line.text)}\n"

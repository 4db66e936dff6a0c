"""Pages of the documentation, cut into the blocks that they show.

A comment in front of a block says what the tests do with it; a reader of the page never sees it:

    <!-- file: PATH -->          the block is the content of this file
    <!-- same as: PATH -->       the block is this file of the repository
    <!-- background: TEXT -->    the command goes on running; TEXT shows that it is ready
    <!-- exit: 1 -->             exit codes of the last command, else 0
    <!-- instead of this: COMMAND -->  run this in the background in its place
    <!-- not run: REASON -->
    <!-- stop -->                on a line of its own: stop what runs in the background
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_COMMENT = re.compile(r"<!-- (?P<verb>[a-z ]+?)(?:: (?P<word>.+?))? -->")
_FENCE = re.compile(r"(?P<ticks>`{3,})(?P<language>\S*)")


@dataclass(frozen=True)
class Block:
    """One fenced block, or a ``stop``; `verb` and `word` are those of the comment in front of it."""

    page: str
    line: int
    language: str
    text: str
    verb: str = ""
    word: str = ""

    @property
    def place(self) -> str:
        """Where to look."""
        return f"{self.page}:{self.line}"

    @property
    def path(self) -> str:
        """File that the block belongs to."""
        return self.word.partition(",")[0] if self.verb == "file" else ""


def blocks_of(path: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    name, found = str(path.relative_to(ROOT)), []
    verb = word = ""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    for number, line in lines:
        comment, fence = _COMMENT.fullmatch(line), _FENCE.match(line)
        if comment:
            verb, word = comment["verb"], comment["word"] or ""
        if fence or verb == "stop":
            language, text = (fence["language"], _text(lines, fence["ticks"])) if fence else ("", "")
            found.append(Block(name, number, language, text, verb, word))
            verb = word = ""
    return found


def _text(lines: Iterator[tuple[int, str]], end: str) -> str:
    """Return what stands between here and the end of a block."""
    return "".join(f"{line}\n" for _, line in takewhile(lambda one: one[1] != end, lines))


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]

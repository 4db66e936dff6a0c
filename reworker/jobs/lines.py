"""Text that comes in pieces, cut into lines."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

#: characters of one line; a longer one comes in pieces.
LINE_LENGTH = 16_384


class LineCutter:
    """Collects pieces of text and gives whole lines, without their ends; one thread at a time."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> Iterator[str]:
        """Yield the lines that are whole now."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            yield from _pieces(line)
        if len(self._rest) > LINE_LENGTH:
            *whole, self._rest = _pieces(self._rest)
            yield from whole

    def end(self) -> Iterator[str]:
        """Yield what has come after the last end of a line."""
        rest, self._rest = self._rest, ""
        if rest:
            yield rest


class ByteLines:
    r"""The same for bytes: UTF-8, other bytes as ``\xff``; a return without a line feed ends a line too."""

    def __init__(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        self._cutter = LineCutter()

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the lines that are whole now."""
        yield from self._cutter.feed(self._decoder.decode(data))

    def end(self) -> Iterator[str]:
        """Yield what has come after the last end of a line."""
        yield from self._cutter.feed(self._decoder.decode(b"", final=True))
        yield from self._cutter.end()


def _pieces(line: str) -> Iterator[str]:
    for begin in range(0, max(len(line), 1), LINE_LENGTH):
        yield line[begin : begin + LINE_LENGTH]

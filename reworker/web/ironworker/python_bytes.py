r"""Bytes that a client sent as Python writes them, ``b'PK\x03...'``: the public client of Python does so."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

#: bytes that are read at once.
PIECE_BYTES = 1 << 20
#: how such a text begins: with the first two bytes of every zip file.
_STARTS = (b"b'PK", b'b"PK')
#: by the quote, all that Python writes between two of them.
_WRITTEN = {
    b"'": re.compile(rb"[ -&(-\[\]-~]*+(?:\\(?:x[0-9a-f][0-9a-f]|[nrt'\\])[ -&(-\[\]-~]*+)*+"),
    b'"': re.compile(rb"[ !#-\[\]-~]*+(?:\\(?:x[0-9a-f][0-9a-f]|[nrt\\])[ !#-\[\]-~]*+)*+"),
}
#: an escape that may go on behind the end.
_CUT = re.compile(rb"\\(?:x[0-9a-f]?)?\Z")


def is_written(file: BinaryIO) -> bool:
    """Tell whether a file holds bytes as Python writes them; it is at its start afterwards."""
    file.seek(0)
    start = file.read(4)
    size_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, size_bytes - 1))
    end = file.read(1)
    file.seek(0)
    return start in _STARTS and size_bytes > len(start) and end == start[1:2]


def written_bytes(file: BinaryIO, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Yield the bytes that were meant, piece by piece; see `is_written`.

    Args:
        file: that holds them.
        piece_bytes: that are read at once.

    Raises:
        ValueError: it is not what Python writes.
    """
    left_bytes, rest = file.seek(0, os.SEEK_END) - len("b''"), b""
    file.seek(1)
    quote = file.read(1)
    while left_bytes > 0:
        piece = rest + file.read(min(piece_bytes, left_bytes))
        left_bytes -= len(piece) - len(rest)
        end = _end_of(piece) if left_bytes > 0 else len(piece)
        yield _meant(piece[:end], quote)
        rest = piece[end:]


def _end_of(piece: bytes) -> int:
    """Return where the last escape begins if it is cut off; else the end."""
    found = _CUT.search(piece)
    if found is None:
        return len(piece)
    head = piece[: found.start()]
    # behind an odd number of others, a backslash is the second half of one that was written
    is_second = (len(head) - len(head.rstrip(b"\\"))) % 2
    return len(piece) if is_second else found.start()


def _meant(text: bytes, quote: bytes) -> bytes:
    if _WRITTEN[quote].fullmatch(text) is None:
        raise ValueError(
            "the package looks like bytes as Python writes them and is not; send the file itself"
        )
    # what Python writes of bytes is a part of what it writes of text, where each byte is a character
    return text.decode("unicode_escape").encode("latin-1")

"""A form with a file (multipart/form-data), made piece by piece while it is sent."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import IO, Any

#: bytes of a file that are sent at once.
PIECE_BYTES = 1 << 16


class SentForm:
    """Two parts: `data`, as JSON, and `file`, as it is read; `size_bytes` is that of the whole."""

    def __init__(self, data: Mapping[str, Any], file: IO[bytes] | None) -> None:
        mark = f"reworker-{uuid.uuid4().hex}"
        self.content_type = f"multipart/form-data; boundary={mark}"
        begin = f"--{mark}\r\nContent-Disposition: form-data; name="
        head = f'{begin}"data"\r\nContent-Type: application/json\r\n\r\n{json.dumps(data)}\r\n'
        if file is not None:
            head += f'{begin}"file"; filename="package.zip"\r\nContent-Type: application/zip\r\n\r\n'
        end = f"--{mark}--\r\n" if file is None else f"\r\n--{mark}--\r\n"
        self._head, self._tail, self._file = head.encode(), end.encode(), file
        file_bytes = file.seek(0, os.SEEK_END) if file is not None else 0
        self.size_bytes = len(self._head) + file_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the form from its beginning on."""
        yield self._head
        if self._file is not None:
            self._file.seek(0)
            while piece := self._file.read(PIECE_BYTES):
                yield piece
        yield self._tail

"""The pipe on which a process of a host says how it is: reports as lines of JSON, lost when nobody reads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from reworker.host.children import decoded, encoded
from reworker.host.health import Report

#: bytes read at once.
READ_BYTES = 1 << 16
#: bytes of a line that has not ended after which it is none of ours.
LINE_BYTES = 1 << 20


class ReportPipe:
    """Both ends of one pipe; the child uses `writing`, the host the rest."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self.writing, False)
        self.is_at_end = False
        self._rest = b""

    def reports(self) -> Iterator[Report]:
        """Yield the reports that have arrived whole; `is_at_end` says that no more will come."""
        while not self.is_at_end:
            try:
                data = os.read(self.reading, READ_BYTES)
            except BlockingIOError:
                return
            self.is_at_end = not data
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-LINE_BYTES:]
            yield from filter(None, map(decoded, lines))

    def close_writing(self) -> None:
        """Close the end that a child has, too. Safe twice."""
        if self.writing >= 0:
            os.close(self.writing)
        self.writing = -1

    def close(self) -> None:
        """Close both ends; only once."""
        self.close_writing()
        os.close(self.reading)


def teller_to(descriptor: int) -> Callable[[Report], None]:
    """Return what writes reports to a pipe; one that does not go in at once is dropped: others follow."""
    rest = b""

    def tell(report: Report) -> None:
        nonlocal rest
        data = rest or encoded(report)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            rest = data[os.write(descriptor, data) :]

    return tell

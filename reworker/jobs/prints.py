"""What a job prints, sent to its output: stdout at level INFO, stderr at WARNING.

It is told by the context, so each instance has its own, and so have tasks of its event loop. What bypasses
`sys.stdout`, such as programs that are started, and threads that a job starts by itself, are not caught.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from reworker.jobs.lines import LineCutter
from reworker.output import Output

#: output of the job that this thread or task works on; None outside of jobs.
_output: contextvars.ContextVar[_Sink | None] = contextvars.ContextVar("captured_output", default=None)


class _Sink:
    """Lines of one job, of both streams."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._cutters = {level: LineCutter() for level in (logging.INFO, logging.WARNING)}

    def write(self, level: int, text: str) -> None:
        for line in self._cutters[level].feed(text.replace("\r\n", "\n").replace("\r", "\n")):
            self._output.log(level, "%s", line)

    def close(self) -> None:
        for level, cutter in self._cutters.items():
            for line in cutter.end():
                self._output.log(level, "%s", line)


class CapturedStream:
    """Stands in for a stream of `sys`: text goes to the running job's output, else where it always went.

    Args:
        stream: the original; everything but writing is its own.
        level: of the lines.
    """

    def __init__(self, stream: TextIO, level: int) -> None:
        self.original, self._level = stream, level

    def write(self, text: str) -> int:
        """Write to the job's output, or to the original."""
        sink = _output.get()
        if sink is None:
            return self.original.write(text)
        sink.write(self._level, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def close(self) -> None:
        """Nothing: the process's stream is not the job's to close."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


@contextlib.contextmanager
def captured_streams() -> Iterator[None]:
    """Put captured streams in the place of `sys.stdout` and `sys.stderr` for the block."""
    old = sys.stdout, sys.stderr
    sys.stdout = CapturedStream(sys.stdout, logging.INFO)
    sys.stderr = CapturedStream(sys.stderr, logging.WARNING)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = old


@contextlib.contextmanager
def prints_to(output: Output) -> Iterator[None]:
    """Send what this thread prints in the block to an output, when the streams are captured."""
    sink = _Sink(output)
    token = _output.set(sink)
    try:
        yield
    finally:
        _output.reset(token)
        sink.close()

"""Lines of output of workers that poll: thousands may come with one request, and none is to be lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reworker.jobs.attempt import Attempt
from reworker.messages import OUTPUT_LIMIT_BYTES, cut_line
from reworker.output import Output
from reworker.topology.names import OUTPUT_KEY

#: lines that go one by one, as those of other workers do; more at once would find no room on their way.
APART_COUNT = 100


def send_lines(attempt: Attempt, lines: Sequence[str]) -> None:
    """Send lines as output of a step; many of them in pieces, which the core takes apart again."""
    if len(lines) <= APART_COUNT:
        output = Output(attempt.send_output, attempt.correlation_id)
        for line in lines:
            output.info(line)
        return
    for piece in pieces_of(lines):
        attempt.send_output(OUTPUT_KEY, attempt.correlation_id, {"message": piece, "stream": "out"})


def pieces_of(lines: Sequence[str]) -> Iterator[str]:
    """Yield lines joined to texts that one message takes; a longer line is cut there."""
    piece: list[str] = []
    size_bytes = 0
    for line in map(cut_line, lines):
        line_bytes = len(line.encode("utf-8", "replace")) + 1
        if piece and size_bytes + line_bytes > OUTPUT_LIMIT_BYTES:
            yield "".join(piece)
            piece, size_bytes = [], 0
        piece.append(f"{line}\n")
        size_bytes += line_bytes
    if piece:
        yield "".join(piece)

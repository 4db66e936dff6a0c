"""Where the time of attempts went: outbox, queue, work, commit. Pure.

- outbox: from the moment the attempt was stored until the broker confirmed its message, with any delay;
- queue: until a worker began;
- work: until the worker's answer was taken in;
- commit: until what follows on the same host was stored.

What waits for people is neither of these and stands for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from reworker.fsm.plan import Role
from reworker.storage.contract import AttemptRow

#: width of the picture; its unit is a thousandth of the time shown.
WIDTH = 1000
#: what is drawn at least of a segment that is there, so that it can be seen.
LEAST_WIDTH = 2
#: and of one that goes on: how long it is by now the page does not say, so that it stays the same.
OPEN_WIDTH = 20
PARTS = ("outbox", "queue", "work", "commit", "people")


class Segment(msgspec.Struct, frozen=True):
    """A part of an attempt: `x` and `width` in units of the picture."""

    part: str
    seconds: float
    x: int
    width: int


class TimelineRow(msgspec.Struct, frozen=True):
    """One attempt on the timeline."""

    attempt: AttemptRow
    segments: tuple[Segment, ...]

    def seconds(self, part: str) -> float | None:
        """Return how long a part took, or None when it never came to it."""
        return next((one.seconds for one in self.segments if one.part == part), None)

    @property
    def open_part(self) -> str:
        """The part that goes on; empty when the attempt has ended."""
        return self.segments[-1].part if self.segments and self.attempt.ended_at is None else ""

    @property
    def open_at(self) -> datetime:
        """When the part began that goes on."""
        one = self.attempt
        begun = {"queue": one.sent_at, "work": one.started_at}
        return begun.get(self.open_part) or one.created_at

    @property
    def total_s(self) -> float:
        """How long all of it took."""
        return sum(one.seconds for one in self.segments)


class Timeline(msgspec.Struct, frozen=True):
    """Attempts over the time between the first and the last of them."""

    rows: tuple[TimelineRow, ...]
    start_at: datetime | None = None
    end_at: datetime | None = None
    sums: tuple[tuple[str, float], ...] = ()

    @property
    def length_s(self) -> float:
        """How long the time is that is shown."""
        return (self.end_at - self.start_at).total_seconds() if self.start_at and self.end_at else 0.0


def timeline(attempts: Sequence[AttemptRow], now: datetime) -> Timeline:
    """Return the timeline of attempts, in order; what has not ended goes on until now."""
    if not attempts:
        return Timeline(())
    next_at = _next_at(attempts)
    spans = [list(_spans(one, next_at.get(one.number), now)) for one in attempts]
    start_at = min(one.created_at for one in attempts)
    end_at = max([start_at, *(end for some in spans for _, _, end in some)])
    length_s = (end_at - start_at).total_seconds() or 1.0
    rows = []
    for attempt, some in zip(attempts, spans, strict=True):
        is_open = attempt.ended_at is None
        segments = tuple(
            _segment(span, start_at, length_s, is_open=is_open and span is some[-1]) for span in some
        )
        rows.append(TimelineRow(attempt, segments))
    sums = {part: sum(row.seconds(part) or 0.0 for row in rows) for part in PARTS}
    return Timeline(
        tuple(rows), start_at, end_at, tuple((part, total) for part, total in sums.items() if total)
    )


Span = tuple[str, datetime, datetime]


def _spans(attempt: AttemptRow, next_at: datetime | None, now: datetime) -> Iterable[Span]:
    """Yield (part, from, to) of an attempt, in order."""
    end_at = attempt.ended_at or max(now, attempt.created_at)
    if attempt.role == Role.APPROVAL:
        yield "people", attempt.created_at, end_at
        return
    if attempt.status == "skipped":
        return
    places = [("outbox", attempt.created_at), ("queue", attempt.sent_at), ("work", attempt.started_at)]
    begun = [(part, at) for part, at in places if at is not None]
    for place, (part, at) in enumerate(begun):
        until = begun[place + 1][1] if place + 1 < len(begun) else end_at
        yield part, at, max(at, until)
    if attempt.ended_at is not None and next_at is not None and next_at >= attempt.ended_at:
        yield "commit", attempt.ended_at, next_at


def _next_at(attempts: Sequence[AttemptRow]) -> Mapping[int, datetime]:
    """Return, by number of an attempt, when the next one on its host was stored."""
    last: dict[str, int] = {}
    found: dict[int, datetime] = {}
    for one in attempts:
        if one.host in last:
            found[last[one.host]] = one.created_at
        last[one.host] = one.number
    return found


def _segment(span: Span, start_at: datetime, length_s: float, *, is_open: bool) -> Segment:
    part, begin, end = span
    seconds = (end - begin).total_seconds()
    x = round((begin - start_at).total_seconds() / length_s * WIDTH)
    least = OPEN_WIDTH if is_open else LEAST_WIDTH if seconds else 0
    width = max(round(seconds / length_s * WIDTH), least)
    return Segment(part, seconds, min(x, WIDTH - width), width)

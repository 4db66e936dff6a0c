"""Lines of output on their way from the bus to their own file; a flood of them delays nothing else."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from reworker import messages
from reworker.bus.contract import Delivery, Verdict
from reworker.bus.received import correlation_of
from reworker.clock import Clock
from reworker.core.counters import Counters
from reworker.core.dead_letters import DeadLetters
from reworker.errors import MessageError, StorageError, StorageUnavailable, UndecodableMessage
from reworker.ids import is_id, parse_attempt_id
from reworker.storage.contract import LogRow, LogStore

logger = logging.getLogger(__name__)

#: lines written in one transaction at most.
BATCH_COUNT = 1000
#: bytes of lines that wait to be written at most; what comes then is counted and dropped.
BUFFER_BYTES = 16 << 20
#: bytes that a line costs beside its text.
LINE_COST_BYTES = 40
#: deployments whose line numbers are remembered.
REMEMBERED_COUNT = 1000
#: times that lines are numbered anew because another core has used their numbers meanwhile.
RACE_COUNT = 20


class LogLine(msgspec.Struct, frozen=True):
    """A line of output; `no` counts the deployment's lines from 1, `attempt` is 0 for words of our own.

    `stream` is ``out`` or ``err`` of the process of a task, with ``-`` behind it when no line feed follows;
    else empty.
    """

    no: int
    attempt: int
    at: datetime
    text: str
    stream: str = ""


class _Line(msgspec.Struct, frozen=True):
    deployment_id: str
    attempt: int
    at: datetime
    text: str
    stream: str = ""
    piece: int = 0


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A line in a chunk; those of older versions have no stream. `piece` is that which begins here."""

    attempt: int
    at: datetime
    text: str
    stream: str = ""
    piece: int = 0


class _Shelf(msgspec.Struct):
    """What is stored of one deployment; `pieces` are (attempt, number) pairs."""

    last_no: int = 0
    size_bytes: int = 0
    pieces: set[tuple[int, int]] = set()


def lines_of(row: LogRow) -> list[LogLine]:
    """Return the lines of a chunk."""
    stored = msgspec.json.decode(row.lines, type=list[_Stored])
    return [
        LogLine(row.first_no + place, one.attempt, one.at, one.text, one.stream)
        for place, one in enumerate(stored)
    ]


class Recorder:
    """Writes lines in batches on a thread of its own; `put` is called on the bus's I/O thread.

    A delivery is acknowledged when its line is written, or dropped: the buffer is full, its deployment has
    had its share, or the file cannot be written. What is dropped is counted, and marked in the log.
    """

    def __init__(
        self, logs: LogStore, dead: DeadLetters, clock: Clock, counters: Counters, *, limit_bytes: int
    ) -> None:
        self._logs, self._dead, self._clock, self._counters = logs, dead, clock, counters
        self._limit_bytes = limit_bytes
        self._queue: queue.SimpleQueue[Delivery | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._dropped: Counter[str] = Counter()
        self._shelves: dict[str, _Shelf] = {}
        self._is_ended = False

    def put(self, delivery: Delivery) -> None:
        """Take a delivery; returns at once."""
        size_bytes = len(delivery.body)
        if size_bytes > messages.REPLY_LIMIT_BYTES:
            limit_bytes = messages.REPLY_LIMIT_BYTES
            self._dead.refuse(delivery, f"output has {size_bytes} bytes, the limit is {limit_bytes}")
            return
        with self._lock:
            is_room = self._waiting_bytes + size_bytes <= BUFFER_BYTES
            if is_room:
                self._waiting_bytes += size_bytes
            elif len(self._dropped) < REMEMBERED_COUNT:
                self._dropped[correlation_of(delivery.properties) or ""] += 1
        if is_room:
            self._queue.put(delivery)
        else:
            self._counters.add("lines_dropped")
            delivery.settle(Verdict.ACK)

    def run(self) -> None:
        """Write lines until `stop`; the body of the recorder's thread."""
        while not self._is_ended:
            try:
                self.turn(None)
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("lines of output were lost to an error of our own")

    def stop(self) -> None:
        """Let `run` return once it has written what is there."""
        self._queue.put(None)

    def turn(self, wait_s: float | None = 0.0) -> bool:
        """Write what is there; return whether there was something.

        Args:
            wait_s: how long to wait for the first line; None is for ever.
        """
        deliveries = self._take(wait_s)
        accepted = [(one, found) for one in deliveries if (found := self._lines_in(one)) is not None]
        lines = [*self._marks(), *_once(found for _, found in accepted)]
        try:
            if lines:
                self._write(lines)
        except StorageError as error:
            self._shelves.clear()
            self._counters.add("lines_dropped", len(lines))
            logger.error("%d lines of output are lost: %s", len(lines), error)
        finally:
            self._release(deliveries)
            for delivery, _ in accepted:
                delivery.settle(Verdict.ACK)
        return bool(deliveries)

    def _take(self, wait_s: float | None) -> list[Delivery]:
        taken: list[Delivery] = []
        while len(taken) < BATCH_COUNT:
            try:
                is_first = not taken and wait_s != 0
                delivery = self._queue.get(is_first, wait_s if is_first else None)
            except queue.Empty:
                break
            if delivery is None:
                self._is_ended = True
                break
            taken.append(delivery)
        return taken

    def _release(self, deliveries: Iterable[Delivery]) -> None:
        with self._lock:
            self._waiting_bytes -= sum(len(one.body) for one in deliveries)

    def _lines_in(self, delivery: Delivery) -> list[_Line] | None:
        """Return the lines of a delivery; one that cannot be used goes to the dead letters."""
        try:
            own = _owner_of(correlation_of(delivery.properties))
            if own is None:
                raise UndecodableMessage("output has no attempt's id as its correlation id", delivery.body)
            encoding = delivery.properties.content_encoding
            line = messages.decode(messages.OutputLine, delivery.body, encoding)
        except MessageError as error:
            self._dead.refuse(delivery, str(error))
            return None
        now = self._clock.now()
        if not line.stream:
            return [_Line(*own, now, messages.cut_line(line.message))]
        return [_Line(*own, now, text, stream, line.piece) for text, stream in _pieces(line)]

    def _marks(self) -> list[_Line]:
        """Return a line for each deployment whose lines found no room, and forget them."""
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        now = self._clock.now()
        return [
            _Line(own[0], 0, now, f"[{count} lines were dropped: too many at once]")
            for correlation_id, count in dropped.items()
            if (own := _owner_of(correlation_id)) is not None
        ]

    def _write(self, lines: Sequence[_Line]) -> None:
        by_deployment: dict[str, list[_Line]] = {}
        for line in lines:
            by_deployment.setdefault(line.deployment_id, []).append(line)
        for is_last in (*[False] * RACE_COUNT, True):
            self._fetch_shelves(by_deployment)
            found = [self._row(own, self._fresh(own, some)) for own, some in by_deployment.items()]
            try:
                self._logs.add([row for row, _ in found if row is not None])
                break
            except StorageUnavailable:
                raise
            except StorageError:
                if is_last:
                    raise
                self._shelves.clear()  # another core has lines of these deployments too
        self._counters.add("lines", len(lines))
        if dropped_count := sum(count for _, count in found):
            self._counters.add("lines_dropped", dropped_count)

    def _fetch_shelves(self, deployment_ids: Iterable[str]) -> None:
        if len(self._shelves) > REMEMBERED_COUNT:
            self._shelves.clear()
        missing = [one for one in deployment_ids if one not in self._shelves]
        if missing:
            stored = self._logs.last_nos(missing)
            self._shelves |= {one: _Shelf(*stored.get(one, (0, 0))) for one in missing}
            for one in stored:
                self._shelves[one].pieces = self._pieces_of(one)

    def _pieces_of(self, deployment_id: str) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        after_no = 0
        while rows := self._logs.lines(deployment_id, after_no=after_no):
            for row in rows:
                stored = msgspec.json.decode(row.lines, type=list[_Stored])
                found.update((one.attempt, one.piece) for one in stored if one.piece)
                after_no = row.first_no + row.line_count - 1
        return found

    def _fresh(self, deployment_id: str, lines: Sequence[_Line]) -> list[_Line]:
        """Return lines without those of pieces that are stored: what nobody has confirmed is said twice."""
        known = self._shelves[deployment_id].pieces
        fresh = [one for one in lines if (one.attempt, one.piece) not in known]
        known.update((one.attempt, one.piece) for one in fresh if one.piece)
        return fresh

    def _row(self, deployment_id: str, lines: Sequence[_Line]) -> tuple[LogRow | None, int]:
        """Return the chunk to write, up to the deployment's share, and how many lines are beyond that."""
        shelf, dropped_count = self._shelves[deployment_id], 0
        kept: list[tuple[Any, ...]] = []
        last_piece = 0
        for line in lines:
            if shelf.size_bytes >= self._limit_bytes:
                dropped_count += 1
                continue
            shelf.size_bytes += len(line.text) + LINE_COST_BYTES
            parts = (line.attempt, line.at, line.text)
            piece = line.piece if line.piece != last_piece else 0
            kept.append((*parts, line.stream, *([piece] if piece else [])) if line.stream else parts)
            last_piece = line.piece
            if shelf.size_bytes >= self._limit_bytes:
                mark = f"[the limit of {self._limit_bytes} bytes is reached: further lines are not kept]"
                kept.append((0, line.at, mark))
        if not kept:
            return None, dropped_count
        first_no = shelf.last_no + 1
        shelf.last_no += len(kept)
        return LogRow(deployment_id, first_no, len(kept), msgspec.json.encode(kept)), dropped_count


def _once(found: Iterable[list[_Line]]) -> Iterator[_Line]:
    """Yield the lines of deliveries, those of a piece that is there twice once."""
    seen: set[tuple[str, int, int]] = set()
    for lines in found:
        key = (lines[0].deployment_id, lines[0].attempt, lines[0].piece) if lines else ("", 0, 0)
        if key[2] and key in seen:
            continue
        seen.add(key)
        yield from lines


def _pieces(piece: messages.OutputLine) -> list[tuple[str, str]]:
    """Return (text, stream) of each line in a piece; one that does not end here has a ``-`` behind it."""
    *whole, rest = piece.message.split("\n")
    found = [(text, str(piece.stream)) for text in whole]
    return [*found, (rest, f"{piece.stream}-")] if rest else found


def _owner_of(correlation_id: str | None) -> tuple[str, int] | None:
    """Return (deployment id, attempt number); peers of 2014 may give the deployment's id alone."""
    if is_id(correlation_id):
        return str(correlation_id), 0
    return parse_attempt_id(correlation_id)

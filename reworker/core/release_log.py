"""Log files of deployments, ``FSM-<id>.log``, as the Release Engine of 2014 wrote them."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from reworker.clock import Clock
from reworker.core.codec import PlanCache
from reworker.core.release_lines import FOLDER_MODE, open_private
from reworker.core.release_story import END_PHASE, START_PHASE, Story
from reworker.errors import ReworkerError
from reworker.storage.contract import AttemptRow, DeploymentRow, EventRow, Storage

logger = logging.getLogger(__name__)

#: seconds between two looks for what other processes have written, and how many deployments are looked at.
SWEEP_S, SWEEP_COUNT = 2.0, 200
#: events written at once.
PAGE_COUNT = 1000
#: deployments whose place in their file is remembered.
REMEMBERED_COUNT = 10_000

_START, _END = (f'deploy_phase="{phase}"'.encode() for phase in (START_PHASE, END_PHASE))


class _Place(msgspec.Struct, frozen=True):
    """How far a file has come: bytes in whole lines, the last event in them, whether they tell the end."""

    size_bytes: int = 0
    seq: int = 0
    is_ended: bool = False


class ReleaseLog:
    """Lets files follow the database, on a thread of its own; `note` from any thread.

    A file always holds the first events of its deployment, without a gap: after a crash, or when another
    core wrote it, counting its lines tells what is missing. A file that cannot be written costs a warning.

    Args:
        folder: made if missing.
        storage: only read.
    """

    def __init__(self, folder: str, storage: Storage, clock: Clock) -> None:
        self._folder, self._storage, self._clock = Path(folder), storage, clock
        self._queue: queue.SimpleQueue[frozenset[str] | None] = queue.SimpleQueue()
        self._places: dict[str, _Place] = {}
        self._pending: set[str] = set()
        self._plans = PlanCache()
        self._since = clock.now()
        self._sweep_at_mono_s = 0.0
        self._is_failing = False
        self._is_stopped = threading.Event()

    def note(self, events: Iterable[EventRow]) -> None:
        """Have these events, which are stored, written; returns at once."""
        ids = frozenset(event.deployment_id for event in events)
        if ids:
            self._queue.put(ids)

    def run(self) -> None:
        """Write until `stop`; the body of the log's thread."""
        is_last = False
        while not is_last:
            is_last = self._is_stopped.is_set()
            try:
                self.turn(0.0 if is_last else SWEEP_S)
            except Exception:  # the thread's top: it must live, whatever it meets
                logger.exception("log files of deployments met an error of our own")
                self._is_stopped.wait(SWEEP_S)

    def stop(self) -> None:
        """Let `run` return once it has written what was noted."""
        self._sweep_at_mono_s = 0.0
        self._is_stopped.set()
        self._queue.put(None)

    def turn(self, wait_s: float = 0.0) -> None:
        """Write what was noted, and what others did.

        Args:
            wait_s: how long to wait for something to be noted at most.
        """
        self._pending |= self._noted(wait_s)
        try:
            self._pending |= self._others()
        except ReworkerError as error:
            self._warn(error)
        self._pending = {own_id for own_id in sorted(self._pending) if not self._is_done(own_id)}

    def _is_done(self, own_id: str) -> bool:
        """Bring a file up to date; tell whether nothing is left that could be done for it now."""
        try:
            is_done = self._follow(own_id)
            self._is_failing = False
        except (OSError, ReworkerError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            # The last four: a row that nobody can read, which must not keep the files of others waiting.
            self._warn(error)
            return True  # its next event, or the next look, finds it again
        return is_done

    def _warn(self, error: Exception) -> None:
        if not self._is_failing:
            logger.warning("log files of deployments cannot be written: %s", error)
        self._is_failing = True

    def _noted(self, wait_s: float) -> set[str]:
        ids: set[str] = set()
        try:
            found = self._queue.get(wait_s > 0, wait_s or None)
            while True:
                ids |= found or frozenset()
                found = self._queue.get_nowait()
        except queue.Empty:
            return ids

    def _others(self) -> set[str]:
        """Return deployments that have events which no file of ours has, among the newest."""
        if self._clock.mono_s() < self._sweep_at_mono_s:
            return set()
        self._sweep_at_mono_s = self._clock.mono_s() + SWEEP_S
        rows = self._storage.reader.deployments(limit=SWEEP_COUNT)
        return {row.id for row in rows if not self._is_told(row) and self._is_ours(row)}

    def _is_told(self, row: DeploymentRow) -> bool:
        place = self._places.get(row.id, _Place())
        return place.seq >= row.last_seq and (place.is_ended or row.ended_at is None)

    def _is_ours(self, row: DeploymentRow) -> bool:
        """Tell whether a deployment needs a file: those that ended before there were files get none."""
        return row.ended_at is None or row.ended_at >= self._since or self._path(row.id).exists()

    def _path(self, own_id: str) -> Path:
        return self._folder / f"FSM-{own_id}.log"

    def _follow(self, own_id: str) -> bool:
        """Bring a file up to date; return False when another core has it at the moment."""
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        with _locked(self._path(own_id)) as descriptor:
            if descriptor is None:
                return False
            place = self._place(own_id, descriptor)
            if os.fstat(descriptor).st_size > place.size_bytes:
                os.truncate(descriptor, place.size_bytes)
            while text := self._text(own_id, place):
                _write(descriptor, text)
                place = _after(place, text.splitlines(keepends=True))
            if len(self._places) >= REMEMBERED_COUNT:
                self._places.clear()
            self._places[own_id] = place
        return True

    def _place(self, own_id: str, descriptor: int) -> _Place:
        """Return how far a file has come; a line that was torn by a crash does not count."""
        known = self._places.get(own_id)
        if known and known.size_bytes == os.fstat(descriptor).st_size:
            return known
        with open(descriptor, "rb", closefd=False) as file:
            return _after(_Place(), file)

    def _text(self, own_id: str, place: _Place) -> bytes:
        """Return the next lines of a file; none when it is up to date."""
        reader = self._storage.reader
        row = reader.deployment(own_id)
        events = reader.events(own_id, after_seq=place.seq, limit=PAGE_COUNT)
        if not events and (place.is_ended or row.ended_at is None):
            return b""
        first = events if place.seq == 0 else reader.events(own_id, limit=1)
        source_ip = msgspec.json.decode(first[0].data).get("source_ip") or ""
        story = Story(row, self._plans.get(own_id, reader.plan), source_ip)
        lines = story.lines(events, self._attempts(own_id, events)) if events else story.end_lines()
        return "".join(line.text() for line in lines).encode("utf-8", "backslashreplace")

    def _attempts(self, own_id: str, events: Iterable[EventRow]) -> dict[int, AttemptRow]:
        numbers = {msgspec.json.decode(event.data).get("attempt", 0) for event in events} - {0}
        found: dict[int, AttemptRow] = {}
        for number in sorted(numbers):
            if number not in found:
                rows = self._storage.reader.attempts(own_id, after_number=number - 1, limit=PAGE_COUNT)
                found |= {row.number: row for row in rows}
        return found


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Open a file for reading and appending, and keep other cores from it; None when one has it now."""
    descriptor = open_private(str(path), os.O_RDWR | os.O_APPEND)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _after(place: _Place, lines: Iterable[bytes]) -> _Place:
    """Return the place behind these lines, up to one that is not whole."""
    size_bytes, seq, is_ended = place.size_bytes, place.seq, place.is_ended
    for line in lines:
        if line.endswith(b"\n"):
            size_bytes += len(line)
            seq += _START not in line and _END not in line
            is_ended = is_ended or _END in line
    return _Place(size_bytes, seq, is_ended)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]

"""What became of each step on each host, a byte each: from the snapshot and a few attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

import msgspec

from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.plan import Role
from reworker.fsm.ranges import Ranges
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import MarkRow


class Cell(IntEnum):
    """What became of one step on one host."""

    PENDING = 0
    DONE = 1
    DONE_BEFORE = 2
    SKIPPED = 3
    LEFT_OUT = 4
    DELAYED = 5
    READY = 6
    SENT = 7
    STARTED = 8
    APPROVAL = 9
    DOUBT = 10
    FAILED = 11
    TIMED_OUT = 12
    UNROUTABLE = 13
    UNKNOWN = 14
    CANCELLED = 15
    ROLLED_BACK = 16
    ROLLING_BACK = 17
    NOT_TAKEN_BACK = 18


class Look(msgspec.Struct, frozen=True):
    """How a cell is shown: its tone, its sign and its words; each of the last two alone says what it is."""

    tone: str
    sign: str
    words: str


LOOKS: dict[Cell, Look] = {
    Cell.PENDING: Look("plain", "·", "not begun"),
    Cell.DONE: Look("good", "✓", "completed"),
    Cell.DONE_BEFORE: Look("good", "«", "done before"),
    Cell.SKIPPED: Look("plain", "⇥", "skipped"),
    Cell.LEFT_OUT: Look("plain", "∅", "left out"),
    Cell.DELAYED: Look("live", "…", "waits"),
    Cell.READY: Look("live", "→", "in outbox"),
    Cell.SENT: Look("live", "≡", "in queue"),
    Cell.STARTED: Look("live", "▶", "running"),
    Cell.APPROVAL: Look("ask", "?", "needs approval"),
    Cell.DOUBT: Look("ask", "‽", "needs decision"),
    Cell.FAILED: Look("bad", "✗", "failed"),
    Cell.TIMED_OUT: Look("bad", "⧗", "timed out"),
    Cell.UNROUTABLE: Look("bad", "⊘", "unroutable"),
    Cell.UNKNOWN: Look("bad", "⁇", "unknown"),
    Cell.CANCELLED: Look("bad", "■", "cancelled"),
    Cell.ROLLED_BACK: Look("back", "↶", "rolled back"),
    Cell.ROLLING_BACK: Look("live", "↺", "rolling back"),
    Cell.NOT_TAKEN_BACK: Look("bad", "⊗", "not rolled back"),
}

#: what an attempt that has ended leaves in its cell, unless its step is completed all the same.
_ENDED = {
    AttemptStatus.SKIPPED: Cell.SKIPPED,
    AttemptStatus.FAILED: Cell.FAILED,
    AttemptStatus.TIMED_OUT: Cell.TIMED_OUT,
    AttemptStatus.UNROUTABLE: Cell.UNROUTABLE,
    AttemptStatus.UNKNOWN: Cell.UNKNOWN,
    AttemptStatus.CANCELLED: Cell.CANCELLED,
}
_OPEN = {
    AttemptStatus.WAITING: Cell.DELAYED,
    AttemptStatus.READY: Cell.READY,
    AttemptStatus.SENT: Cell.SENT,
    AttemptStatus.STARTED: Cell.STARTED,
    AttemptStatus.UNKNOWN: Cell.DOUBT,
}
#: a step that ended so did not do what it should.
BAD = frozenset({Cell.FAILED, Cell.TIMED_OUT, Cell.UNROUTABLE, Cell.UNKNOWN, Cell.NOT_TAKEN_BACK})
ASKS = frozenset({Cell.APPROVAL, Cell.DOUBT})
LIVE = frozenset({Cell.DELAYED, Cell.READY, Cell.SENT, Cell.STARTED, Cell.ROLLING_BACK})
#: nothing is left to be done in such a cell.
OVER = frozenset({Cell.DONE, Cell.DONE_BEFORE, Cell.SKIPPED, Cell.LEFT_OUT})


def cells_of(step_count: int, state: Deployment, marks: Iterable[MarkRow], done_before: Ranges) -> bytearray:
    """Return a cell for each step of the plan, by its index.

    Args:
        step_count: of the plan.
        state: the snapshot.
        marks: the attempts that say more than that their step completed, in order.
        done_before: steps that the deployment which this one continues has done.
    """
    cells = bytearray(step_count)
    back: dict[int, Cell] = {}
    for mark in marks:
        status = AttemptStatus(mark.status)
        if mark.role == Role.ROLLBACK:
            is_back = status is AttemptStatus.COMPLETED
            back[mark.step_index] = Cell.ROLLED_BACK if is_back else Cell.NOT_TAKEN_BACK
        elif mark.role != Role.VERIFY and status in _ENDED:
            cells[mark.step_index] = _ENDED[status]
    _fill(cells, state.completed, Cell.DONE)
    _fill(cells, done_before, Cell.DONE_BEFORE)
    _fill(cells, state.left_out, Cell.LEFT_OUT)
    for index, cell in back.items():
        cells[index] = cell
    for attempt in state.attempts:
        cells[attempt.step_index] = cell_of(attempt)
    return cells


def cell_of(attempt: Attempt) -> Cell:
    """Return the cell of an attempt that is open."""
    if attempt.role is Role.APPROVAL and attempt.status is AttemptStatus.WAITING:
        return Cell.APPROVAL
    if attempt.role is Role.ROLLBACK and attempt.status is not AttemptStatus.UNKNOWN:
        return Cell.ROLLING_BACK
    return _OPEN.get(attempt.status, Cell.STARTED)


def _fill(cells: bytearray, ranges: Ranges, cell: Cell) -> None:
    for start, end in ranges:
        end = min(end, len(cells))
        cells[start:end] = bytes((cell,)) * max(end - start, 0)

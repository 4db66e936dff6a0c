"""What a drill does to its processes and connections, and which of it; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import TypeVar

import msgspec

from reworker.drill.faults import Action
from reworker.drill.frames import FrameFault, Harm, Side

#: of so many strikes one lets the process stand still instead of killing it.
STOP_SHARE = 20
#: of so many strikes one ends core and worker together, and one harms connections.
PAIR_SHARE, CONNECTION_SHARE = 5, 5
#: of so many pairs one comes back at once.
SHORT_SHARE = 4
#: how far the next pair's passages are from those of the one before, as a part of the whole session: the
#: golden ratio, which never comes back to a place.
_STRIDE = 0.618034
#: how much later than the core the worker is struck, so that it is second: as a part of the session.
_LATER = 0.25

T = TypeVar("T")


class Blow(msgspec.Struct, frozen=True):
    """A process to strike: `number` is the passage of the point."""

    role: str
    point: str
    number: int
    action: Action = Action.KILL

    def __str__(self) -> str:
        return f"{self.role}.{self.point}:{self.number}:{self.action}"

    @property
    def place(self) -> str:
        """Role and point."""
        return f"{self.role}.{self.point}"


class Pair(msgspec.Struct, frozen=True):
    """Core and worker, to be struck in one session.

    `is_long` keeps both away until every claim has ended.
    """

    core: Blow
    worker: Blow
    is_long: bool = False

    def __str__(self) -> str:
        return f"{self.core} and {self.worker}{', away for long' if self.is_long else ''}"

    @property
    def place(self) -> str:
        """Both places."""
        return f"{self.core.place} and {self.worker.place}"


class Interruption(msgspec.Struct, frozen=True):
    """Harm to the connections of a role."""

    role: str
    fault: FrameFault

    def __str__(self) -> str:
        return f"{self.role}: {self.fault}"

    @property
    def place(self) -> str:
        """Role and what is done."""
        return f"{self.role}.{self.fault.harm}"


Strike = Blow | Pair | Interruption


class Shares(msgspec.Struct, frozen=True):
    """How many strikes of each kind a drill makes."""

    blows: int
    pairs: int
    interruptions: int


def shares_of(count: int, *, has_connections: bool) -> Shares:
    """Return how many of so many strikes are of each kind."""
    interruptions = count // CONNECTION_SHARE if has_connections else 0
    pairs = count // PAIR_SHARE
    return Shares(count - pairs - interruptions, pairs, interruptions)


def blows_of(passages: Mapping[str, Mapping[str, int]]) -> list[Blow]:
    """Return a kill at each passage of each point; `passages` counts them by role and point."""
    return [
        Blow(role, point, number)
        for role, counts in passages.items()
        for point, count in counts.items()
        for number in range(1, count + 1)
    ]


def sample(strikes: Sequence[T], count: int) -> list[T]:
    """Return so many of the strikes, spread evenly, more than once when there are too few of them."""
    if not strikes or count <= 0:
        return []
    return [strikes[number * len(strikes) // count % len(strikes)] for number in range(count)]


def with_stops(blows: Iterable[Blow], share: int = STOP_SHARE) -> list[Blow]:
    """Return the blows, every so-many-th of which lets the process stand still instead of killing it."""
    return [
        msgspec.structs.replace(blow, action=Action.STOP) if number % share == share - 1 else blow
        for number, blow in enumerate(blows)
    ]


def pairs_of(passages: Mapping[str, Mapping[str, int]], count: int) -> list[Pair]:
    """Return so many pairs: all points of the core with ever other points of the worker.

    In most the core is first, so that the worker has in hand what nobody has confirmed, and both stay away
    for long: then the core finds a claim that has ended, and a worker that knows nothing of what it did.
    """
    cores, workers = (
        [(point, number) for point, number in passages[role].items() if number] for role in ("core", "worker")
    )
    if not cores or not workers:
        return []
    pairs = []
    for turn in range(count):
        round_number, place = divmod(turn, len(cores))
        is_long = (turn + round_number) % SHORT_SHARE != SHORT_SHARE - 1
        part = turn * _STRIDE % 1
        core = _blow_at("core", *cores[place], part)
        worker = workers[(turn + round_number) % len(workers)]
        pairs.append(Pair(core, _blow_at("worker", *worker, part + _LATER * is_long), is_long=is_long))
    return pairs


def _blow_at(role: str, point: str, passage_count: int, part: float) -> Blow:
    """Return a kill at the passage of a point that is at this part of a session."""
    return Blow(role, point, min(1 + int(part * passage_count), passage_count))


def interruptions_of(
    frames: Mapping[str, Mapping[Side, int]], harms: Sequence[tuple[Harm, float]], count: int
) -> list[Interruption]:
    """Return so many interruptions, spread evenly over all frames.

    Args:
        frames: number of the last of a session, by role and direction; the first to the broker is 0.
        harms: what to do and for how many seconds, in turn.
        count: how many.
    """
    places = [
        (role, side, number)
        for role, counts in frames.items()
        for side, last in counts.items()
        for number in range(1 if side is Side.DOWN else 0, last + 1)
    ]
    return [
        Interruption(role, FrameFault(side, number, *harm))
        for (role, side, number), harm in zip(sample(places, count), cycle(harms), strict=False)
    ]

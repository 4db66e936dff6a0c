"""How many jobs of which subcommand ended how, and how long they took; for metrics."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

#: upper bounds of the classes that durations are sorted into, seconds: from steps that only answer to those
#: that run for hours.
BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
#: subcommands that are told apart, at most: their names come from messages, and each is kept for ever.
SUBCOMMAND_COUNT = 100
#: characters of a subcommand's name.
NAME_CHARACTERS = 60
OTHER = "other"


class Ends:
    """Jobs of one subcommand that ended alike, sorted by how long they took; the last class has no bound."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0


class JobTally:
    """Numbers that only grow. One thread notes, the instance's; any may read.

    No lock: a reader may see a job in one number and not yet in another, and a note costs half a microsecond.
    """

    def __init__(self) -> None:
        self._ends: dict[tuple[Any, str], Ends] = {}
        self._names: set[str] = set()

    def note(self, subcommand: Any, status: str, duration_s: float) -> None:
        """Count a job that has ended.

        Args:
            subcommand: as the message says it, whatever that is.
            status: how it ended.
            duration_s: for how long it ran.
        """
        try:
            ends = self._ends[subcommand, status]
        except (KeyError, TypeError):
            ends = self._ends.setdefault((self._known(subcommand), status), Ends())
        ends.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        ends.sum_s += duration_s

    def _known(self, subcommand: Any) -> str:
        """Return the name that a subcommand is counted under."""
        name = subcommand[:NAME_CHARACTERS] if isinstance(subcommand, str) else ""
        if name not in self._names and len(self._names) >= SUBCOMMAND_COUNT:
            return OTHER
        self._names.add(name)
        return name

    def ends(self) -> list[tuple[str, str, list[int], float]]:
        """Return (subcommand, status, count in each class, sum in seconds) of each kind of end."""
        return [
            (subcommand, status, list(ends.counts), ends.sum_s)
            for (subcommand, status), ends in list(self._ends.items())
        ]

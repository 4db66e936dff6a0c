"""How many jobs of which subcommand ended how, and how long they took; for metrics."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

#: upper bounds of the classes that durations are sorted into, seconds: from steps that only answer to those
#: that run for hours.
BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
SHORTEST_S = BOUNDS_S[0]
#: subcommands that are told apart, at most: their names come from messages, and each is kept for ever.
SUBCOMMAND_COUNT = 100
#: characters of a subcommand's name.
NAME_CHARACTERS = 60
OTHER = "other"


class JobTally:
    """Numbers that only grow. One thread notes, the instance's; any may read.

    No lock: a reader may see a job in one number and not yet in another, and a note costs half a microsecond.
    """

    def __init__(self) -> None:
        #: by subcommand and status: jobs in each class of durations, and last the sum of these, seconds.
        self._ends: dict[tuple[Any, str], list[float]] = {}
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
            ends = self._new(subcommand, status)
        # where each microsecond counts, jobs are of the first class
        ends[0 if duration_s <= SHORTEST_S else bisect_left(BOUNDS_S, duration_s)] += 1
        ends[-1] += duration_s

    def _new(self, subcommand: Any, status: str) -> list[float]:
        """Return the numbers of a name that is not known as it is."""
        name = subcommand[:NAME_CHARACTERS] if isinstance(subcommand, str) else ""
        if name not in self._names and len(self._names) >= SUBCOMMAND_COUNT:
            name = OTHER
        else:
            self._names.add(name)
        return self._ends.setdefault((name, status), [0] * (len(BOUNDS_S) + 2))

    def ends(self) -> list[tuple[str, str, list[int], float]]:
        """Return (subcommand, status, count in each class, sum in seconds) of each kind of end."""
        return [
            (subcommand, status, [int(count) for count in ends[:-1]], ends[-1])
            for (subcommand, status), ends in list(self._ends.items())
        ]

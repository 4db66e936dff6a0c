"""The drill: learns which points a small deployment passes, strikes at them one by one, and counts."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from reworker.clock import SystemClock
from reworker.drill.faults import Action
from reworker.drill.lane import ROLES, Blow, Lane
from reworker.drill.truth import Fault, Problem

#: of so many strikes one lets the process stand still instead of killing it.
STOP_SHARE = 20


class Report(msgspec.Struct, frozen=True):
    """What a drill found.

    Args:
        strikes: role.point -> how often a process was struck there.
        missed_count: strikes whose point was not passed that often: batches differ from run to run.
        outcomes: final status -> how many deployments.
        decision_count: how often a person had to be asked.
        faults: kind of fault -> how many; all have to be 0.
        problems: each fault in words.
        duration_s: of the whole drill.
    """

    strikes: dict[str, int]
    missed_count: int
    outcomes: dict[str, int]
    decision_count: int
    faults: dict[str, int]
    problems: list[str]
    duration_s: float

    @property
    def strike_count(self) -> int:
        """How often a process was struck."""
        return sum(self.strikes.values())

    @property
    def is_clean(self) -> bool:
        """Tell whether no fault was found."""
        return not self.problems


def blows_of(passages: dict[str, dict[str, int]]) -> list[Blow]:
    """Return a kill at each passage of each point; `passages` counts them by role and point."""
    return [
        Blow(role, point, number)
        for role, counts in passages.items()
        for point, count in counts.items()
        for number in range(1, count + 1)
    ]


def sample(blows: Sequence[Blow], count: int) -> list[Blow]:
    """Return so many of the blows, spread evenly, more than once when there are too few of them."""
    if not blows or count <= 0:
        return []
    return [blows[number * len(blows) // count % len(blows)] for number in range(count)]


def with_stops(blows: Iterable[Blow], share: int = STOP_SHARE) -> list[Blow]:
    """Return the blows, every so-many-th of which lets the process stand still instead of killing it."""
    return [
        msgspec.structs.replace(blow, action=Action.STOP) if number % share == share - 1 else blow
        for number, blow in enumerate(blows)
    ]


class Drill:
    """Strikes on several lanes at once, each with a thread of its own.

    Args:
        lanes: open.
        on_strike: told of each strike, on a lane's thread; for progress.
    """

    def __init__(self, lanes: Sequence[Lane], on_strike: Callable[[Blow], None] = lambda _: None) -> None:
        self._lanes, self._on_strike = lanes, on_strike
        self._clock = SystemClock()
        self._begin_mono_s = self._clock.mono_s()
        self._strikes: Counter[str] = Counter()
        self._missed_count = 0
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def passages(self) -> dict[str, dict[str, int]]:
        """Return how often each point is passed, by role and point."""
        return {role: self._lanes[0].count_passages(role) for role in ROLES}

    def strike(self, blows: Iterable[Blow]) -> None:
        """Strike each blow once, on whichever lane is free.

        Raises:
            BaseException: the first that a lane met, a `TimeoutError` above all.
        """
        waiting: queue.SimpleQueue[Blow] = queue.SimpleQueue()
        for blow in blows:
            waiting.put(blow)
        threads = [
            threading.Thread(target=self._run, args=(lane, waiting), daemon=True) for lane in self._lanes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, lane: Lane, waiting: queue.SimpleQueue[Blow]) -> None:
        try:
            while not self._errors and not lane.problems:
                self._strike_one(lane, waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001  # a thread's top: `strike` raises it
            self._errors.append(error)

    def _strike_one(self, lane: Lane, blow: Blow) -> None:
        is_hit = lane.strike(blow)
        with self._lock:
            if is_hit:
                self._strikes[f"{blow.role}.{blow.point}"] += 1
            else:
                self._missed_count += 1
        self._on_strike(blow)

    def report(self, more: Iterable[Problem] = ()) -> Report:
        """Judge every deployment; the lanes must be closed. `more` was found elsewhere."""
        judged = [lane.judge() for lane in self._lanes]
        problems = [problem for found in judged for problem in found] + list(more)
        outcomes: Counter[str] = Counter()
        for lane in self._lanes:
            outcomes.update(lane.outcomes())
        counts = Counter(problem.fault for problem in problems)
        return Report(
            strikes=dict(sorted(self._strikes.items())),
            missed_count=self._missed_count,
            outcomes=dict(outcomes),
            decision_count=sum(lane.decision_count for lane in self._lanes),
            faults={str(fault): counts[fault] for fault in Fault},
            problems=[problem.text for problem in problems],
            duration_s=self._clock.mono_s() - self._begin_mono_s,
        )

"""The drill: learns which points a small deployment passes, strikes at them one by one, and counts."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from reworker.clock import SystemClock
from reworker.drill.frames import FrameProxy, Harm
from reworker.drill.lane import ROLES, STILL_S, Lane
from reworker.drill.strikes import Blow, Interruption, Pair, Strike, interruptions_of
from reworker.drill.truth import Fault, Problem

#: connections of a process: the core has one for lines of output too.
CONNECTION_COUNTS = {"core": 2, "worker": 1}
#: what is done to connections, in turn, and for how many seconds.
HARMS = ((Harm.CUT, 0.0), (Harm.FREEZE, STILL_S), (Harm.RESET, 0.0), (Harm.DELAY, 0.05))


class Report(msgspec.Struct, frozen=True):
    """What a drill found.

    Args:
        strikes: role.point -> how often a process was struck there.
        pairs: both points -> how often core and worker were struck together there.
        interruptions: role.harm -> how often connections were harmed so.
        missed_count: strikes whose point was not passed that often: batches differ from run to run.
        outcomes: final status -> how many deployments.
        decision_count: how often a person had to be asked.
        faults: kind of fault -> how many; all have to be 0.
        problems: each fault in words.
        duration_s: of the whole drill.
    """

    strikes: dict[str, int]
    pairs: dict[str, int]
    interruptions: dict[str, int]
    missed_count: int
    outcomes: dict[str, int]
    decision_count: int
    faults: dict[str, int]
    problems: list[str]
    duration_s: float

    @property
    def strike_count(self) -> int:
        """How often processes were struck, alone or together, or cut off."""
        return sum(sum(counts.values()) for counts in (self.strikes, self.pairs, self.interruptions))

    @property
    def is_clean(self) -> bool:
        """Tell whether no fault was found."""
        return not self.problems


class Drill:
    """Strikes on several lanes at once, each with a thread of its own.

    Args:
        lanes: open.
        on_strike: told of each strike, on a lane's thread; for progress.
    """

    def __init__(self, lanes: Sequence[Lane], on_strike: Callable[[Strike], None] = lambda _: None) -> None:
        self._lanes, self._on_strike = list(lanes), on_strike
        self._clock = SystemClock()
        self._begin_mono_s = self._clock.mono_s()
        self._counts: dict[type, Counter[str]] = {kind: Counter() for kind in (Blow, Pair, Interruption)}
        self._missed_count = 0
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def passages(self) -> dict[str, dict[str, int]]:
        """Return how often each point is passed, by role and point."""
        return {role: self._lanes[0].count_passages(role) for role in ROLES}

    def strike(self, blows: Iterable[Blow | Pair]) -> None:
        """Strike each blow or pair once, on whichever lane is free.

        Raises:
            BaseException: the first that a lane met, a `TimeoutError` above all.
        """
        waiting: queue.SimpleQueue[Blow | Pair] = queue.SimpleQueue()
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

    def _run(self, lane: Lane, waiting: queue.SimpleQueue[Blow | Pair]) -> None:
        try:
            while not self._errors and not lane.problems:
                self._strike_one(lane, waiting.get_nowait())
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001  # a thread's top: `strike` raises it
            self._errors.append(error)

    def _strike_one(self, lane: Lane, blow: Blow | Pair) -> None:
        self._note(blow, lane.strike(blow) if isinstance(blow, Blow) else lane.strike_both(blow))

    def _note(self, strike: Strike, is_hit: bool) -> None:
        with self._lock:
            if is_hit:
                self._counts[type(strike)][strike.place] += 1
            else:
                self._missed_count += 1
        self._on_strike(strike)

    def interrupt(self, lane: Lane, proxies: Mapping[str, FrameProxy], count: int) -> None:
        """Harm connections of one more lane, one after the other, until something is wrong.

        Args:
            lane: open; it is judged with the others.
            proxies: by role, the way of its core and its worker to the broker.
            count: how often.
        """
        self._lanes.append(lane)
        frames = {role: lane.count_frames(proxy) for role, proxy in proxies.items()}
        for one in interruptions_of(frames, HARMS, count):
            if lane.problems:
                return
            is_hit = lane.harm(proxies[one.role], one.fault, CONNECTION_COUNTS[one.role])
            self._note(one, is_hit)

    def report(self, more: Iterable[Problem] = ()) -> Report:
        """Judge every deployment; the lanes must be closed. `more` was found elsewhere."""
        judged = [lane.judge() for lane in self._lanes]
        problems = [problem for found in judged for problem in found] + list(more)
        outcomes: Counter[str] = Counter()
        for lane in self._lanes:
            outcomes.update(lane.outcomes())
        counts = Counter(problem.fault for problem in problems)
        return Report(
            strikes=dict(sorted(self._counts[Blow].items())),
            pairs=dict(sorted(self._counts[Pair].items())),
            interruptions=dict(sorted(self._counts[Interruption].items())),
            missed_count=self._missed_count,
            outcomes=dict(outcomes),
            decision_count=sum(lane.decision_count for lane in self._lanes),
            faults={str(fault): counts[fault] for fault in Fault},
            problems=[problem.text for problem in problems],
            duration_s=self._clock.mono_s() - self._begin_mono_s,
        )

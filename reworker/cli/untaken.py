"""Says which steps lie in a queue because no worker takes them, while somebody follows a deployment."""

from __future__ import annotations

from collections.abc import Iterator

from reworker.cli.waits import counted, place
from reworker.clock import Clock
from reworker.fsm.deployment import Attempt, Deployment
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus
from reworker.logs import escaped

#: seconds after which a wait is told of; then each time that it has become twice as long.
FIRST_S = 5.0


class Untaken:
    """Remembers since when steps lie in their queues; one thread, one deployment.

    Args:
        plan: of the deployment.
        clock: its monotonic part is used.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan, self._clock = plan, clock
        self._since: dict[int, float] = {}
        self._next_s: dict[str, float] = {}

    def notes(self, deployment: Deployment) -> Iterator[str]:
        """Yield what is to be said now, a line for each worker type that nobody is there for.

        A type that works on another step of the deployment is there, and busy: it is not told of.
        """
        now_mono_s = self._clock.mono_s()
        waiting: dict[str, list[Attempt]] = {}
        for attempt in deployment.attempts:
            if attempt.status is AttemptStatus.SENT and not attempt.is_queued_again:
                waiting.setdefault(self._worker(attempt), []).append(attempt)
        busy = {self._worker(one) for one in deployment.attempts if one.status is AttemptStatus.STARTED}
        numbers = [one.number for some in waiting.values() for one in some]
        self._since = {number: self._since.get(number, now_mono_s) for number in numbers}
        self._next_s = {name: self._next_s.get(name, FIRST_S) for name in waiting.keys() - busy}
        for name in sorted(self._next_s):
            waited_s = now_mono_s - min(self._since[one.number] for one in waiting[name])
            if waited_s >= self._next_s[name]:
                self._next_s[name] = 2 * waited_s
                yield escaped(self._line(name, waiting[name], waited_s))

    def _line(self, name: str, attempts: list[Attempt], waited_s: float) -> str:
        first = self._plan.step(attempts[0].step_index, attempts[0].role)
        rest = f" and {counted(len(attempts) - 1, 'more step')}" if len(attempts) > 1 else ""
        return (
            f"{first.key}{place(first.host)}{rest} in the queue of worker {name} for {waited_s:.0f} s, "
            f"and no worker takes it; does one run? After {first.queue_timeout_s:g} s it counts as not done"
        )

    def _worker(self, attempt: Attempt) -> str:
        command = self._plan.step(attempt.step_index, attempt.role).key.partition(":")[0]
        return f"{attempt.domain}.{command}" if attempt.domain else command

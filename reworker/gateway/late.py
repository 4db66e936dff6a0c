"""Results that come when their lease is over, accepted while nobody else has begun the step."""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger

from reworker.clock import Clock
from reworker.errors import MessageError
from reworker.execution import report
from reworker.gateway.contract import Completed, Failed, Standing
from reworker.gateway.ending import reply_of
from reworker.gateway.lease import Lease
from reworker.jobs.attempt import Attempt
from reworker.jobs.early import Acknowledged

#: seconds until dropped results are spoken of again.
SAID_AGAIN_S = 60.0


class Dropped:
    """Says in the log that results were dropped, once in a while: the workers are not told."""

    def __init__(self, clock: Clock, logger: Logger) -> None:
        self._clock, self._logger = clock, logger
        self._count, self._next_mono_s = 0, 0.0

    def note(self, task_id: str, worker_id: str) -> None:
        """Count one, and say it with those before when that is due. Any thread, with the house's lock."""
        self._count += 1
        now_mono_s = self._clock.mono_s()
        if now_mono_s < self._next_mono_s:
            return
        text = (
            "results dropped: %d, the last one of worker %.60a for task %.100a: it has ended, or its lease "
            "was over, or another server has given it, which alone can take its result"
        )
        self._logger.warning(text, self._count, worker_id, task_id)
        self._count, self._next_mono_s = 0, now_mono_s + SAID_AGAIN_S


def accept_late(lease: Lease, result: Completed | Failed, listener: Callable[[Standing], None]) -> bool:
    """Answer a step whose message waits for another worker; it is dropped when it is found. Tell whether.

    What this process knows counts: where other consumers read the queue too, one of them may have begun it.
    """
    old, station = lease.attempt, lease.attempt.station
    is_begun = old.key in station.open_attempts
    is_known = station.ledger.find(old.key) is not None or station.recent.find(old.key) is not None
    if is_begun or is_known:
        return False
    attempt = Attempt(station, Acknowledged(old.delivery))
    attempt.step, attempt.body = old.step, old.body
    attempt.on_settled = lambda is_answered: listener(Standing.DONE if is_answered else Standing.UNSENT)
    try:
        report(attempt, reply_of(result, lease.worker_id))
    except MessageError as error:
        station.logger.error("%s: cannot be answered: %s", attempt.correlation_id, error)
    attempt.finish()
    lease.lane.house.counts["late_accepted"] += 1
    return True

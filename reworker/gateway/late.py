"""Results that come when their lease is over, accepted while nobody else has begun the step."""

from __future__ import annotations

from collections.abc import Callable

from reworker.errors import MessageError
from reworker.execution import report
from reworker.gateway.contract import Completed, Failed, Standing
from reworker.gateway.ending import reply_of
from reworker.gateway.lease import Lease
from reworker.jobs.attempt import Attempt
from reworker.jobs.early import Acknowledged


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

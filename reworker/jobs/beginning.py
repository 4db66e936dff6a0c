"""Beginning a step only when the broker has its `started`: where the core has not heard that, nothing began.

A broker that was killed says of all that waited in it that it was delivered before. With this, the next
worker can answer that such a step was never begun unless `started` has come, and the core sends it again.
"""

from __future__ import annotations

from reworker.bus.contract import Outcome, Outgoing, Verdict, publish_and_tell
from reworker.jobs.attempt import Attempt
from reworker.jobs.envelopes import STARTED_BODY, reply_around


def may_begin(attempt: Attempt) -> bool:
    """Say `started`, wait until the broker has it, and tell whether the step may be begun.

    It may not when the connection was lost meanwhile: another worker has the message, and may have said that
    nothing was begun. So `started` is not sent a second time, either, and nothing is answered. Where nobody
    wants to hear it, the step is begun.
    """
    if not attempt.reply_to:
        return True
    station = attempt.station
    attempt.seq += 1
    properties, envelope = reply_around(
        station,
        attempt.correlation_id,
        "started",
        attempt.seq,
        traceparent=attempt.traceparent,
        is_again=attempt.is_redelivered,
    )
    message = Outgoing("", attempt.reply_to, STARTED_BODY, properties, may_resend=False, envelope=envelope)
    result = publish_and_tell(station.bus, message)
    if not attempt.delivery.is_live:
        station.logger.info("%s is not begun: the connection was lost", attempt.correlation_id)
        attempt.leave()
        return False
    if result.outcome in (Outcome.CONFIRMED, Outcome.RETURNED):
        return True
    station.logger.warning(
        "%s is given back: its start could not be told: %s", attempt.correlation_id, result.reason
    )
    attempt.decide(Verdict.REQUEUE)
    return False

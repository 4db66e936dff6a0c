"""Messages whose workers were lost: how often, and keeping count of it where the broker does not.

A classic queue only says that a message was delivered before. So it is sent round once more, with the count
in a header, before it is begun again: the next worker, on whatever machine, finds that there. The ledger
counts as well, for messages that must keep their place and for a broker that takes no copy.
"""

from __future__ import annotations

from reworker.bus.contract import Outcome, publish_and_tell
from reworker.jobs.attempt import Attempt
from reworker.jobs.returning import (
    DELIVERY_COUNT_HEADER,
    LOST_HEADER,
    copy_of,
    key_of,
    number_in,
)
from reworker.topology.names import OUTPUT_KEY

#: workers that a message may kill before it is taken out of the queue.
MAX_LOSSES = 3


def losses_of(attempt: Attempt) -> int:
    """Return how many workers were lost while they had this message; a redelivery is noted in the ledger."""
    delivery = attempt.delivery
    count = number_in(delivery, LOST_HEADER)
    if delivery.redelivered:
        count = max(count + 1, attempt.station.ledger.count_loss(attempt.key))
    return max(count, _counted_by_broker(attempt))


def _counted_by_broker(attempt: Attempt) -> int:
    """Return the broker's count; output and notifications also come back when they are put back unbegun."""
    return number_in(attempt.delivery, DELIVERY_COUNT_HEADER) if attempt.owes_status else 0


def is_sent_round(attempt: Attempt, count: int) -> bool:
    """Send a redelivered message to the end of its queue, with the count of lost workers; tell whether it is.

    Lines of output keep their place: out of order they would be worth little. Where the broker counts, or
    does not take the copy, the message is not sent either.
    """
    delivery = attempt.delivery
    if not delivery.redelivered or _counted_by_broker(attempt) or key_of(delivery) == OUTPUT_KEY:
        return False
    station = attempt.station
    changes, accepted = {LOST_HEADER: count}, station.settings.accept_from
    copy = copy_of(delivery, delivery.queue, changes, accepted=accepted)
    result = publish_and_tell(station.bus, copy)
    if result.outcome is not Outcome.CONFIRMED:
        return False
    attempt.leave()
    return True

"""A message that comes again while its job is running: the two are one."""

from __future__ import annotations

from reworker.bus.contract import Delivery
from reworker.jobs.attempt import Attempt
from reworker.jobs.station import Station


def is_adopted(station: Station, delivery: Delivery) -> bool:
    """Let the job that has this message in this process settle its redelivery too; tell whether it does.

    At once, not when an instance is free: that may be the one that runs the job. Whoever else got the
    message meanwhile would take its worker for lost.
    """
    if not delivery.redelivered or not delivery.properties.correlation_id:
        return False
    attempt = Attempt(station, delivery)
    running: Attempt | None = station.open_attempts.get(attempt.key)
    return running is not None and running.adopt(attempt)

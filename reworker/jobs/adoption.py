"""A message that comes again while its job is running: the two are one."""

from __future__ import annotations

from reworker.bus.contract import Delivery
from reworker.jobs.attempt import Attempt
from reworker.jobs.station import Station
from reworker.jobs.trying import tries_of


def running_of(attempt: Attempt) -> Attempt | None:
    """Return the job in this process that a delivery is a repetition of; None when it is none.

    Its next try is none. That may come before this one has ended: the broker delivers it before it confirms.
    """
    running: Attempt | None = attempt.station.open_attempts.get(attempt.key)
    if running is None or tries_of(attempt) > tries_of(running):
        return None
    return running


def is_adopted(station: Station, delivery: Delivery) -> bool:
    """Let the job that has this message in this process settle its redelivery too; tell whether it does.

    At once, not when an instance is free: that may be the one that runs the job. Whoever else got the
    message meanwhile would take its worker for lost.
    """
    if not delivery.redelivered or not delivery.properties.correlation_id:
        return False
    attempt = Attempt(station, delivery)
    running = running_of(attempt)
    return running is not None and running.adopt(attempt)

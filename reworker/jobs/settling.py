"""Carrying out what was decided about a delivery, once its job is over and answered for."""

from __future__ import annotations

from reworker.bus.contract import Delivery, Verdict
from reworker.jobs.returning import return_to_queue
from reworker.jobs.station import Station
from reworker.topology.refusal import Refusal, refuse


def settle(station: Station, delivery: Delivery, verdict: Verdict, refusal: str) -> None:
    """Settle a delivery that has been answered as far as it can be; any thread, returns at once.

    Args:
        station: where its job ran.
        delivery: to settle.
        verdict: what was decided.
        refusal: why it goes to the dead letters, if it does.
    """
    if verdict is Verdict.ACK:
        delivery.settle(verdict)
    elif verdict is Verdict.REQUEUE:
        return_to_queue(station.bus, delivery, accepted=station.settings.accept_from, is_begun=True)
    else:
        station.counts["dead_lettered"] += 1
        by = f"worker {station.app_id} {station.worker_id}"
        refuse(station.bus, delivery, Refusal(refusal, by, station.clock.now()))

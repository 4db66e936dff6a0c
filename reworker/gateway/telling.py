"""Notifications that a step wants, sent for workers that have no message bus to send them by."""

from __future__ import annotations

from reworker.errors import MessageError
from reworker.jobs.attempt import Attempt
from reworker.notify import notifications


def tell_people(attempt: Attempt, phase: str, worker_id: str, why: str = "") -> None:
    """Tell people how a step stands, by the transports that it names for this phase; most name none.

    Args:
        attempt: of the step.
        phase: started, completed or failed.
        worker_id: who has it.
        why: it failed.
    """
    table = attempt.body.get("notify")
    if not table or attempt.step is None:
        return
    parameters = attempt.step.parameters
    slug = f"{parameters.get('command', '')}:{parameters.get('subcommand', '')} {phase}"
    text = f"{slug}: {attempt.correlation_id}, worker {worker_id}"
    message = f"{text}: {why}" if why else text
    exchange = attempt.station.settings.exchange
    try:
        for key, body in notifications(table, phase, slug, message):
            attempt.send(key, attempt.correlation_id, body, exchange, None)
    except MessageError as error:
        attempt.station.logger.warning("%s: nobody is notified: %s", attempt.correlation_id, error)

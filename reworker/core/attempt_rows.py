"""Rows of attempts: what a list of attempts shows, written as the machine says what becomes of each."""

from __future__ import annotations

import msgspec

from reworker.core import codec
from reworker.fsm.commands import RecordAttempt
from reworker.fsm.plan import PlannedStep
from reworker.fsm.states import AttemptStatus
from reworker.storage.contract import AttemptRow

#: an attempt in one of these has ended, or is in a doubt that counts as an end until it is settled.
_OPEN = frozenset({AttemptStatus.WAITING, AttemptStatus.READY, AttemptStatus.SENT, AttemptStatus.STARTED})


def new_attempt(own_id: str, deployment_id: str, step: PlannedStep, command: RecordAttempt) -> AttemptRow:
    """Return the first row of an attempt at a step."""
    return AttemptRow(
        id=own_id,
        deployment_id=deployment_id,
        number=command.attempt,
        step_index=command.step_index,
        step=step.key,
        host=step.host,
        status=str(command.status),
        tries=command.tries,
        worker="",
        message="",
        percent=None,
        data=codec.NULL,
        created_at=command.at,
        sent_at=None,
        started_at=None,
        ended_at=None,
        role=str(command.role),
        domain=command.domain,
    )


def recorded(row: AttemptRow, command: RecordAttempt, worker: str) -> AttemptRow:
    """Return the row of an attempt after what is to be recorded; `worker` is empty unless one spoke."""
    status = command.status
    is_started = status is AttemptStatus.STARTED and row.started_at is None
    is_sent = status is AttemptStatus.SENT and row.sent_at is None
    return msgspec.structs.replace(
        row,
        status=str(status),
        worker=worker or row.worker,
        message=command.message or row.message,
        percent=row.percent if command.percent is None else command.percent,
        data=row.data if command.data is None else codec.encode(command.data),
        sent_at=command.at if is_sent else row.sent_at,
        started_at=command.at if is_started else row.started_at,
        ended_at=None if status in _OPEN else command.at,
        domain=command.domain or row.domain,
    )

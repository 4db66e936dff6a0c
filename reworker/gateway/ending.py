"""How a lease ends: the final reply, another try, and who is told when the broker has it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from reworker.errors import JobRetry, MessageError
from reworker.execution import report
from reworker.gateway.contract import Completed, Failed, RetryLogic, Standing, TaskRules
from reworker.gateway.lease import Lease, Phase
from reworker.gateway.telling import tell_people
from reworker.jobs.trying import tries_of, try_again
from reworker.messages import Reply, cut_line

#: seconds between two looks whether the broker is back, before a step is sent to wait for another try.
RECONNECT_LOOK_S = 1.0
#: shortest pause before another try, seconds: without one the message would pass all that wait.
SHORTEST_RETRY_S = 0.001
#: the exponent of a pause that grows stops here: days are longer than any pause that is allowed.
MOST_DOUBLINGS = 20

Listener = Callable[[Standing], None]


def reply_of(result: Completed | Failed, worker_id: str) -> Reply:
    """Return the final reply for what a worker has reported."""
    if isinstance(result, Completed):
        return Reply("completed", data=result.output)
    reason = cut_line(result.reason)  # some send all their output as the reason
    data: dict[str, Any] = {"reason": reason, "output": result.output, "workerId": worker_id}
    if result.is_final:
        data["terminal"] = True
    return Reply("failed", message=reason or "its worker gave no reason", data=data)


def end(lease: Lease, reply: Reply, listener: Listener | None = None) -> bool:
    """Send the final reply and settle when the broker has it; tell whether this is what ended the lease."""
    if not _claim(lease, listener):
        return False
    _finish(lease, reply)
    return True


def fail(lease: Lease, failed: Failed, listener: Listener | None = None) -> bool:
    """End a lease whose step failed, or have the step wait for its next try; tell whether this ended it."""
    reply = reply_of(failed, lease.worker_id)
    tries = tries_of(lease.attempt)
    if failed.is_final or lease.attempt.is_cancelled or tries >= lease.rules.retry_count:
        return end(lease, reply, listener)
    if not _claim(lease, listener):
        return False
    lease.lane.house.submit(partial(_send_to_wait, lease, reply))
    return True


def pause_s(rules: TaskRules, tries: int) -> float:
    """Return the pause after so many tries that failed, from 1.

    Source: Conductor's task definitions, `retryLogic`.
    """
    growth = {
        RetryLogic.FIXED: 1.0,
        RetryLogic.LINEAR_BACKOFF: rules.backoff_scale * tries,
        RetryLogic.EXPONENTIAL_BACKOFF: 2.0 ** min(tries - 1, MOST_DOUBLINGS),
    }
    wanted_s = max(rules.retry_delay_s * growth[rules.retry_logic], SHORTEST_RETRY_S)
    return min(wanted_s, rules.max_retry_delay_s) if rules.max_retry_delay_s > 0 else wanted_s


def _claim(lease: Lease, listener: Listener | None) -> bool:
    with lease.lane.house.lock:
        if lease.phase in (Phase.ENDING, Phase.OVER):
            return False
        lease.phase = Phase.ENDING
        lease.hear()
        if listener is not None:
            lease.listeners.append(listener)
        return True


def _finish(lease: Lease, reply: Reply | None) -> None:
    attempt = lease.attempt
    attempt.on_settled = partial(_on_settled, lease, reply)
    if attempt.is_redelivered:
        attempt.station.ledger.forget_losses(attempt.key)
    try:
        report(attempt, reply)
        if reply is not None:
            phase = "completed" if reply.status == "completed" else "failed"
            tell_people(attempt, phase, lease.worker_id, reply.message or reply.reason or "")
    except MessageError as error:  # its address is one that nobody can write to
        attempt.station.logger.error("%s: cannot be answered: %s", attempt.correlation_id, error)
    finally:
        attempt.finish()


def _on_settled(lease: Lease, reply: Reply | None, is_answered: bool) -> None:
    """Tell everybody who waits; what the broker did not take is kept for when the message comes back."""
    lane = lease.lane
    with lane.house.lock:
        lane.forget(lease)
        listeners, lease.listeners = lease.listeners, []
        lane.house.counts["results" if is_answered else "unsent_results"] += 1
    if not is_answered and reply is not None:
        lane.intake.keep(lease.attempt.key, reply)
    lane.note_end()
    for listener in listeners:
        listener(Standing.DONE if is_answered else Standing.UNSENT)


def _send_to_wait(lease: Lease, reply: Reply) -> None:
    """On a thread that may wait."""
    house, attempt = lease.lane.house, lease.attempt
    if not house.bus.health().is_connected:  # at the end of this process the message comes back to the queue
        house.timers.after(RECONNECT_LOOK_S, partial(house.submit, partial(_send_to_wait, lease, reply)))
        return
    tries = tries_of(attempt) + 1
    settings = msgspec.structs.replace(attempt.station.settings, retry_attempts=lease.rules.retry_count + 1)
    attempt.station = dataclasses.replace(attempt.station, settings=settings)
    wait = JobRetry(pause_s(lease.rules, tries), message=reply.message or "")
    left = try_again(attempt, wait, reply)
    if left is None:
        with house.lock:
            house.previous.keep(attempt.key, lease.task_id)
            house.counts["retries"] += 1
    _finish(lease, left)

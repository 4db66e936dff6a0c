"""The tries of one attempt: how many there were, until when there may be more, waiting for the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from reworker.bus.contract import Outcome, Published, publish_and_tell
from reworker.errors import BusError, JobRetry, MessageError
from reworker.jobs.attempt import Attempt
from reworker.jobs.retry import policy_of
from reworker.jobs.returning import (
    AT_HEADER,
    DELAYS_S,
    ERROR_HEADER,
    GOING_ON_HEADER,
    LOST_HEADER,
    TRIES_HEADER,
    UNTIL_HEADER,
    copy_of,
    declare_delay,
    number_in,
    rounded_s,
)
from reworker.messages import NOT_AFTER_HEADER, STEP_LIMIT_BYTES, Reply, encode, seconds_in
from reworker.task_errors import JobGoesOn

#: tries of a job that asks for them itself, when nothing else is said.
MAX_TRIES = 20
#: characters of the last error that travel with the message.
ERROR_CHARACTERS = 300
#: seconds by which the clocks of two machines may differ before a message waits once more.
CLOCK_S = 1.0


def tries_of(attempt: Attempt) -> int:
    """Return how many tries have ended before this one."""
    return number_in(attempt.delivery, TRIES_HEADER) if attempt.has_past else 0


def failures_of(attempt: Attempt) -> int:
    """Return how many tries have failed before this one; others ended because the job was not over."""
    return max(tries_of(attempt) - _goings_on_of(attempt), 0)


def last_error_of(attempt: Attempt) -> str:
    """Return why the last try ended; empty for the first one."""
    return str((attempt.delivery.properties.headers or {}).get(ERROR_HEADER) or "")


def until_s(attempt: Attempt) -> float | None:
    """Return until when a step may run, its tries together, in seconds since 1970; None is for ever."""
    known = seconds_in(attempt.delivery.properties.headers, UNTIL_HEADER)
    deadline_s = attempt.headers.deadline_s if attempt.headers is not None else None
    if known is not None or deadline_s is None:
        return known
    clock = attempt.station.clock
    return clock.now().timestamp() - (clock.mono_s() - attempt.started_mono_s) + deadline_s


def limit(attempt: Attempt) -> None:
    """Let a try run no longer than the worker's limit, nor the core's, which holds for all tries together."""
    attempt.timeout_s = attempt.station.settings.timeout_s
    if attempt.headers is not None and attempt.headers.deadline_s is not None:
        attempt.limit(attempt.headers.deadline_s)
    if not attempt.has_past:
        return
    end_s = seconds_in(attempt.delivery.properties.headers, UNTIL_HEADER)
    if end_s is not None:
        attempt.limit(max(0.001, end_s - attempt.station.clock.now().timestamp()))


def try_again(attempt: Attempt, error: BaseException, reply: Reply) -> Reply | None:
    """Have a job that has failed wait for its next try; return what to answer when it has none.

    Args:
        attempt: of the job; its replies so far are not final.
        error: what it raised.
        reply: what is answered when there is no other try.
    """
    # A step has its own from the moment on that its parameters were found well.
    is_step = attempt.method is not None
    policy = attempt.retry if is_step else policy_of(None, attempt.station.settings)
    is_asked, is_failure = isinstance(error, JobRetry), not isinstance(error, JobGoesOn)
    if attempt.final_status or not (is_asked or (policy is not None and policy.takes(error))):
        return reply
    tries = failures_of(attempt) + is_failure
    most = policy.attempts if policy is not None else MAX_TRIES
    if attempt.is_cancelled or tries >= most:
        return _given_up(reply, tries) if tries > 1 else reply
    delay_s = error.delay_after_s(max(tries, 1)) if isinstance(error, JobRetry) else 0.0
    if policy is not None and not delay_s:
        delay_s = policy.pause_s(tries, attempt.station.rand)
    return _wait(attempt, delay_s, reply, error)


def is_early(attempt: Attempt) -> bool:
    """Tell whether a message came before its next try is due, and has been sent to wait once more."""
    if not attempt.has_past:
        return False
    at_s = seconds_in(attempt.delivery.properties.headers, AT_HEADER)
    left_s = 0.0 if at_s is None else at_s - attempt.station.clock.now().timestamp()
    if left_s <= CLOCK_S:
        return False
    try:
        return _send(attempt, left_s, {}, None).outcome is Outcome.CONFIRMED
    except (BusError, TypeError, ValueError) as error:
        attempt.station.logger.warning("%s: begins early: %s", attempt.correlation_id, error)
        return False


def _goings_on_of(attempt: Attempt) -> int:
    return number_in(attempt.delivery, GOING_ON_HEADER) if attempt.has_past else 0


def _given_up(reply: Reply, tries: int) -> Reply:
    text = f"gave up after {tries} tries"
    return Reply("failed", message=f"{text}: {reply.message}" if reply.message else text, data=reply.data)


def _wait(attempt: Attempt, delay_s: float, reply: Reply, error: BaseException) -> Reply | None:
    clock, why = attempt.station.clock, reply.message or "no reason given"
    wait_s = max(float(rounded_s(delay_s)), delay_s) if delay_s > 0 else 0.0
    at_s, end_s = clock.now().timestamp() + wait_s, until_s(attempt)
    if end_s is not None and at_s >= end_s:
        text = f"{why}; not tried again: in {wait_s:g} s the time of the step is over"
        return Reply("failed", message=text, data=reply.data)
    is_failure = not isinstance(error, JobGoesOn)
    headers = {
        TRIES_HEADER: tries_of(attempt) + 1,
        GOING_ON_HEADER: _goings_on_of(attempt) + (not is_failure) or None,
        ERROR_HEADER: why[:ERROR_CHARACTERS],
        UNTIL_HEADER: None if end_s is None else str(end_s),
        NOT_AFTER_HEADER: _not_after(attempt, at_s, end_s),
        LOST_HEADER: None,
    }
    again = f"again in {wait_s:g} s"
    what = f"try {failures_of(attempt) + 1} ended, {again}: {why}" if is_failure else f"{why}, {again}"
    if attempt.headers is not None:
        attempt.reply(Reply("running", message=what, again_in_s=wait_s))
    try:
        result = _send(attempt, wait_s, headers, _changed_body(attempt, error))
    except (BusError, MessageError, TypeError, ValueError) as cause:
        return Reply("failed", message=f"could not be tried again: {cause}; {why}", data=reply.data)
    if result.outcome is Outcome.CONFIRMED:
        attempt.station.counts["retried"] += is_failure
        level = logging.WARNING if is_failure else logging.INFO
        attempt.station.logger.log(level, "%s: %s", attempt.correlation_id, what)
        return None
    is_doubtful = result.is_sent and result.outcome in (Outcome.LOST, Outcome.TIMED_OUT)
    text = f"could not be tried again: {result.outcome.value} {result.reason}".rstrip() + f"; {why}"
    return Reply("unknown" if is_doubtful else "failed", message=text, reason=text if is_doubtful else None)


def _changed_body(attempt: Attempt, error: BaseException) -> bytes | None:
    """Return the message for the next try; None is as it came.

    Raises:
        MessageError: it would be larger than a step may be, so that nobody could read it.
    """
    changes = error.changes if isinstance(error, JobRetry) else None
    if not changes:
        return None
    return encode({**attempt.body, **changes}, kind="step", limit_bytes=STEP_LIMIT_BYTES)


def _not_after(attempt: Attempt, at_s: float, end_s: float | None) -> str | None:
    """Return until when the next try has to begin: it may lie in the queue for as long as the step could."""
    queue_s = attempt.headers.queue_timeout_s if attempt.headers is not None else None
    limits = [one for one in (None if queue_s is None else at_s + queue_s, end_s) if one is not None]
    return str(min(limits)) if limits else None


def _send(attempt: Attempt, wait_s: float, headers: Mapping[str, Any], body: bytes | None) -> Published:
    """Send a copy to wait; when it is confirmed, the attempt is left to it.

    Raises:
        BusError: there is no queue to wait in.
        TypeError, ValueError: AMQP cannot carry the copy.
    """
    station, queue = attempt.station, attempt.delivery.queue
    target = queue
    if wait_s > 0:
        target = declare_delay(station.bus, station.settings, queue, rounded_s(wait_s))
    due_s = station.clock.now().timestamp() + wait_s
    due = str(due_s) if wait_s > DELAYS_S[-1] else None
    changes, accepted = {**headers, AT_HEADER: due}, station.settings.accept_from
    copy = copy_of(attempt.delivery, target, changes, accepted=accepted, body=body)
    result = publish_and_tell(station.bus, copy)
    if result.outcome is Outcome.CONFIRMED:
        attempt.leave()
    return result

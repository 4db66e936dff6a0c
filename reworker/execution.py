"""One delivery through small stages: decode, start, perform, report, settle; each can be called alone.

The only place that turns errors into the outcome of a job.
"""

from __future__ import annotations

import logging
import os
from logging import Logger
from typing import Any, Protocol

from reworker.bus.contract import Delivery
from reworker.clock import iso
from reworker.errors import (
    JobCancelled,
    JobFailed,
    JobRetry,
    JobTimeout,
    JobUnknown,
    MessageError,
    MessageTooLarge,
)
from reworker.jobs.adoption import running_of
from reworker.jobs.attempt import Attempt
from reworker.jobs.losses import MAX_LOSSES, is_sent_round, losses_of
from reworker.jobs.returning import key_of, returns_of
from reworker.jobs.station import Station
from reworker.jobs.trying import is_early, last_error_of, limit, tries_of, try_again
from reworker.logs import correlation_id
from reworker.messages import STEP_LIMIT_BYTES, Reply, decode_object, step_of
from reworker.output import Output
from reworker.topology.names import owes_status
from reworker.tracing import StepTracer

#: times a plugin may give a step back before it goes to the dead letters.
MAX_GIVEN_BACK = 20
#: exit code of a process that user code forked and let return into the library.
FORKED_EXIT_CODE = 70


class Performer(Protocol):
    """What execution asks of a worker."""

    app_logger: Logger
    reports_status: bool
    confirms_start: bool

    @property
    def dynamic(self) -> Any:
        """Names of the dynamic values that the worker needs."""
        ...

    def _perform_attempt(self, attempt: Attempt, output: Output) -> None:
        """Run the user's code for this attempt; a step's result is left in `attempt.result`."""
        ...

    def _is_idempotent_step(self, subcommand: Any) -> bool:
        """Tell whether a subcommand may safely run twice."""
        ...


def execute(worker: Performer, station: Station, delivery: Delivery) -> bool:
    """Take one delivery through all stages; returns when the job is over, not when it is settled.

    Returns:
        Whether the message could have been run after a redelivery. One that could not is in doubt when the
        connection is lost while it only waits here, so nothing like it should be taken ahead.

    Raises:
        Exception: a stage failed, through no fault of the job; it is answered `failed` all the same.
    """
    attempt = Attempt(station, delivery)
    token = correlation_id.set(attempt.correlation_id or "")
    try:
        if decode(worker, attempt) and start(worker, attempt):
            if station.tracer is None:
                run(worker, attempt)
            else:
                run_traced(worker, attempt, station.tracer)
    except Exception as error:
        _answer_undone(attempt, error)
        raise
    finally:
        correlation_id.reset(token)
        attempt.finish()
    return not attempt.owes_status or may_repeat(worker, attempt)


def _answer_undone(attempt: Attempt, error: Exception) -> None:
    """Answer a message on which a stage itself failed: a bug of ours, or an error that has no text."""
    if not attempt.final_status and not attempt.is_returned():
        reply = Reply("failed", message=f"its worker could not deal with it: {type(error).__name__}: {error}")
        _keep_evidence(attempt, reply)
        report(attempt, reply)


def may_repeat(worker: Performer, attempt: Attempt) -> bool:
    """Tell whether a step may be run that another worker may have begun."""
    headers, step = attempt.headers, attempt.step
    if headers is None and attempt.station.settings.is_run_on_redelivery:
        return True
    is_idempotent = bool(headers and headers.is_idempotent)
    return is_idempotent or (
        step is not None and worker._is_idempotent_step(step.parameters.get("subcommand"))
    )


def run(worker: Performer, attempt: Attempt) -> str:
    """Perform and report, with a line of output before and after; count the job, return how it ended."""
    station = attempt.station
    level = station.settings.output_level
    output = Output(attempt.send_output, attempt.correlation_id, level)
    if station.redact is not None:
        output.redact = station.redact
    is_told = level <= logging.DEBUG
    if is_told:
        log_phase(worker, attempt, output, "Starting")
    reply = perform(worker, attempt, output)
    report(attempt, reply)
    if is_told:
        log_phase(worker, attempt, output, "Finished")
    duration_s = station.clock.mono_s() - attempt.started_mono_s
    subcommand = attempt.step.parameters.get("subcommand") if attempt.step is not None else ""
    end = attempt.final_status or _unsaid_end(attempt, reply)
    station.tally.note(subcommand, end, duration_s)
    return end


def _unsaid_end(attempt: Attempt, reply: Reply | None) -> str:
    """Return how a job ended that has sent no final reply."""
    if attempt.is_returned():
        return "returned"
    return reply.status if reply is not None else "completed"


def run_traced(worker: Performer, attempt: Attempt, tracer: StepTracer) -> None:
    """Do `run` in a span that continues the message's trace; replies carry it on."""
    delivery, step = attempt.delivery, attempt.step
    attributes = {
        "messaging.message.conversation_id": attempt.correlation_id or "",
        "reworker.subcommand": str(step.parameters.get("subcommand")) if step is not None else "",
    }
    with tracer.step(delivery.queue, delivery.properties.headers or {}, attributes) as span:
        attempt.traceparent = span.traceparent or attempt.traceparent
        span.ended(run(worker, attempt))


def decode(worker: Performer, attempt: Attempt) -> bool:
    """Read the body; a malformed one is answered `failed` and dead-lettered."""
    delivery = attempt.delivery
    attempt.owes_status = attempt.owes_status and worker.reports_status
    try:
        if attempt.owes_status and len(delivery.body) > STEP_LIMIT_BYTES:
            raise MessageTooLarge("step", len(delivery.body), STEP_LIMIT_BYTES)
        attempt.body = decode_object(delivery.body, delivery.properties.content_encoding)
        if attempt.owes_status:
            attempt.step = step_of(attempt.body)
            attempt.body["dynamic"], attempt.body["notify"] = attempt.step.dynamic, attempt.step.notify
    except MessageError as error:
        worker.app_logger.error("%s: dead-lettered: %s", attempt.correlation_id, error)
        attempt.station.counts["malformed"] += 1
        attempt.refuse(f"not understood: {error}")
        report(attempt, Reply("failed", message=f"the message was not understood: {error}"))
        return False
    return True


def start(worker: Performer, attempt: Attempt) -> bool:
    """Decide whether to run at all: duplicates, redeliveries and cancelled attempts are answered instead."""
    if attempt.owes_status and _is_known(attempt):
        return False
    losses = losses_of(attempt) if attempt.is_redelivered else 0
    reply = _answer_to(worker, attempt, losses)
    if reply is not None:
        report(attempt, reply)
        return False
    if (attempt.has_past and is_early(attempt)) or (losses and is_sent_round(attempt, losses)):
        return False
    if attempt.owes_status:
        attempt.station.open_attempts[attempt.key] = attempt
    return True


def perform(worker: Performer, attempt: Attempt, output: Output) -> Reply | None:
    """Run the user's code and return its outcome; None when there is nothing left to say."""
    station = attempt.station
    attempt.started_mono_s = station.clock.mono_s()
    limit(attempt)
    try:
        attempt.interrupt.begin()
        station.current = attempt
        try:
            worker._perform_attempt(attempt, output)
        finally:
            station.current = None
            attempt.interrupt.end()
    except BaseException as error:  # noqa: BLE001  the one place that maps errors to outcomes
        attempt.interrupt.end()
        station.current = None  # once more: an interruption may have come just before
        reply = outcome_of(worker, attempt, error, output)
        _keep_evidence(attempt, reply)
    else:
        reply = attempt.result or _without_status(attempt)
    if station.fork_mark.is_child:
        os._exit(FORKED_EXIT_CODE)  # user code forked; the child has no bus and must not answer
    if attempt.is_redelivered:
        station.ledger.forget_losses(attempt.key)
    return reply


def outcome_of(worker: Performer, attempt: Attempt, error: BaseException, output: Output) -> Reply | None:
    """Return the reply for a job that raised; None when it has another try."""
    reply = reply_to_error(worker, attempt, error, output)
    return reply if attempt.station.fork_mark.is_child else try_again(attempt, error, reply)


def reply_to_error(worker: Performer, attempt: Attempt, error: BaseException, output: Output) -> Reply:
    """Return the reply for a job that raised; an unexpected error is logged with its traceback."""
    match error:
        case JobFailed():
            return Reply("failed", message=error.message, data=error.data)
        case JobTimeout():
            text = error.message or f"ran longer than its limit of {attempt.timeout_s} s"
            return Reply("failed", message=text, data=error.data)
        case JobCancelled():
            return Reply("cancelled", message=error.message, data=error.data, reason=error.message)
        case JobUnknown():
            return Reply("unknown", message=error.message, data=error.data, reason=error.message)
        case JobRetry():
            return Reply("failed", message=error.message)
        case KeyError() if attempt.method is None:
            return _missing_key(worker, error, output)
    worker.app_logger.error("%s: the job raised", attempt.correlation_id, exc_info=error)
    return Reply("failed", message=f"{type(error).__name__}: {error}")


def report(attempt: Attempt, reply: Reply | None) -> None:
    """Send the final reply, when one is owed; what JSON cannot carry is answered `failed`, saying so."""
    if reply is None or not attempt.owes_status:
        return
    if attempt.headers is None and reply.status in ("unknown", "cancelled"):
        text = reply.message or reply.reason or ""
        reply = Reply("failed", message=f"{reply.status}: {text}", data=reply.data)
    try:
        attempt.reply(reply)
    except MessageError as error:
        attempt.station.logger.error("%s: %s", attempt.correlation_id, error)
        attempt.reply(
            Reply(
                "failed", message=f"the job ended as {reply.status}, but its {str(error).removeprefix('a ')}"
            )
        )


def log_phase(worker: Performer, attempt: Attempt, output: Output, word: str) -> None:
    """Send a line about the start or the end of a job, at level DEBUG.

    Not for output and notifications: the output worker would feed itself.
    """
    if not owes_status(key_of(attempt.delivery)):
        return
    end = "\n\n" if word == "Finished" else ""
    now = iso(attempt.station.clock.now())
    output.debug(f"{word} {type(worker).__name__}.{attempt.correlation_id} - {now}{end}")


def _is_known(attempt: Attempt) -> bool:
    """Deal with another delivery of an attempt that is running or finished here."""
    station = attempt.station
    if attempt.headers is None:
        return _is_known_at_level_1(attempt)
    if not attempt.correlation_id:
        return False
    original = running_of(attempt) if attempt.key in station.open_attempts else None
    if original is not None:
        original.adopt(attempt)
        return True
    may_be_elsewhere = attempt.is_redelivered or (attempt.has_past and tries_of(attempt) > 0)
    finished = station.ledger.find(attempt.key, is_redelivered=may_be_elsewhere)
    if finished is not None:
        attempt.answer_again(finished)
    return finished is not None


def _is_known_at_level_1(attempt: Attempt) -> bool:
    """A core of 2014 takes a second final reply for the next step's, so it is not sent again."""
    station = attempt.station
    if not attempt.is_redelivered:
        station.recent.forget(attempt.key)
        return False
    original = running_of(attempt)
    if original is not None:
        original.adopt(attempt)
    return original is not None or station.recent.find(attempt.key) is not None


def _answer_to(worker: Performer, attempt: Attempt, losses: int) -> Reply | None:
    """Return the answer to a message that is not to be begun; None is to run it."""
    reason = attempt.station.cancellations.reason(attempt.correlation_id) if attempt.owes_status else None
    if reason is not None:
        return Reply("cancelled", reason=reason)
    if losses >= MAX_LOSSES:
        text = f"killed its worker {losses} times"
        attempt.station.logger.error("%s: dead-lettered: it %s", attempt.correlation_id, text)
        attempt.refuse(text)
        return Reply("failed", message=f"dead-lettered: it {text}")
    if not attempt.owes_status:
        return None
    return _redelivery(worker, attempt) if attempt.is_redelivered else _too_late(attempt)


def _too_late(attempt: Attempt) -> Reply | None:
    if attempt.headers is None or attempt.headers.not_after_s is None:
        return None
    late_s = _late_s(attempt)
    if late_s <= 0:
        return None
    text = f"it came {late_s:.1f} s too late to begin, by the clock of this machine"
    tries = tries_of(attempt)
    if not tries:
        return Reply("cancelled", reason=text)
    return Reply("failed", message=f"{last_error_of(attempt)}; try {tries + 1}: {text}")


def _redelivery(worker: Performer, attempt: Attempt) -> Reply | None:
    """Return the answer to a step that was with another worker; None is to run it."""
    if may_repeat(worker, attempt) and _late_s(attempt) <= 0:
        return None
    if attempt.headers is not None:
        text = "the worker that had this step was lost; it may have run, in part or whole"
        return Reply("unknown", reason=text, unless_started=worker.confirms_start or None)
    return Reply("failed", message="worker was lost while running this step")


def _late_s(attempt: Attempt) -> float:
    """Return by how much it is too late to begin: the core has given it up, another may be at work by now."""
    limit_s = attempt.headers.not_after_s if attempt.headers is not None else None
    return 0.0 if limit_s is None else attempt.station.clock.now().timestamp() - limit_s


def _keep_evidence(attempt: Attempt, reply: Reply | None) -> None:
    """A message that nobody gets an answer about goes to the dead letters when its job raised."""
    if not attempt.owes_status and not attempt.is_returned():
        why = reply.message if reply is not None else ""
        attempt.station.logger.error("%s: dead-lettered: %s", attempt.correlation_id, why)
        attempt.refuse(f"its job failed: {why}")


def _without_status(attempt: Attempt) -> Reply | None:
    """Return the reply for a classic `process()` that has returned."""
    if attempt.final_status:
        return None
    if not attempt.is_returned():
        return Reply("failed", message="process() returned without a final status")
    if attempt.owes_status and returns_of(attempt.delivery) >= MAX_GIVEN_BACK:
        attempt.refuse(f"given back to the queue {MAX_GIVEN_BACK} times")
        return Reply("failed", message=f"dead-lettered: given back to the queue {MAX_GIVEN_BACK} times")
    return None


def _missing_key(worker: Performer, error: KeyError, output: Output) -> Reply:
    """Return the reply of 2014 for a KeyError in a classic worker; other software reads its text."""
    text = f"{type(worker).__name__} failed due to missing key: {error}."
    required = ",".join(map(str, worker.dynamic))
    output.debug(text)
    worker.app_logger.error(text)
    return Reply("failed", data=f"{text} Required Keys: {required}")

"""What is seen or said of an attempt, and what follows: answers, timeouts, doubts, decisions, consent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reworker.fsm import flow
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import Attempt, Track
from reworker.fsm.events import (
    ApprovalExpired,
    Approved,
    AttemptEvent,
    CancelTimedOut,
    Decided,
    Decision,
    DelayEnded,
    DispatchUnknown,
    DispatchUnroutable,
    Event,
    HeartbeatLost,
    QueueTimedOut,
    Refused,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    RunTimedOut,
)
from reworker.fsm.expectation import is_met
from reworker.fsm.plan import Role
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.states import ATTEMPT_TRANSITIONS, AttemptStatus, DeploymentStatus, Trigger
from reworker.fsm.turn import Turn, event_text

#: dispatches of one step that may end in doubt before the machine stops to retry by itself; our choice.
MAX_TRIES_IN_DOUBT = 3

#: seconds of silence after which a worker that had sent heartbeats counts as lost; our choice, six beats.
HEARTBEAT_SILENCE_S = 60.0

#: seconds a worker has to answer a cancel before the deployment ends without it; our choice.
CANCEL_GRACE_S = 30.0

#: seconds between two tries of a step at most, however often its backoff has doubled; our choice.
BACKOFF_CAP_S = 3600.0

#: A timer event counts only while its timer runs; one that was overtaken by an answer is ignored.
_TIMER_OF: dict[type[Event], TimerKind] = {
    QueueTimedOut: TimerKind.QUEUE,
    RunTimedOut: TimerKind.RUN,
    HeartbeatLost: TimerKind.HEARTBEAT,
    CancelTimedOut: TimerKind.CANCEL,
    DelayEnded: TimerKind.DELAY,
    ApprovalExpired: TimerKind.APPROVAL,
}


def observe(turn: Turn, event: AttemptEvent) -> str:
    """Take in what was seen of an attempt; return why it is ignored, or an empty text."""
    kind = type(event)
    attempt = turn.deployment.attempt(event.attempt)
    if attempt is None:
        return f"{kind.__name__}: attempt {event.attempt} is not open"
    status = ATTEMPT_TRANSITIONS.get((attempt.status, kind.__name__))
    is_late = kind in _TIMER_OF and _TIMER_OF[kind] not in attempt.timers
    is_settled = attempt.status is AttemptStatus.UNKNOWN and not attempt.is_unconfirmed
    if status is None or is_late or is_settled:
        return f"{kind.__name__}: attempt {event.attempt} is {attempt.status}"
    if isinstance(event, Approved | Refused) and attempt.role is not Role.APPROVAL:
        return f"{kind.__name__}: attempt {event.attempt} needs no approval"
    if isinstance(event, Approved):
        return _consent(turn, attempt, event)
    if isinstance(event, DelayEnded):
        _end_delay(turn, attempt)
        return ""
    attempt = replace(attempt, is_unconfirmed=False)
    status = _judged(turn, attempt, status, event)
    reason = _reason(turn, attempt, status, event)
    turn.record(attempt, status, event, message=reason)
    if status.is_live:
        _progress(turn, attempt, status, event)
        flow.look_up(turn)
    else:
        _settle(turn, attempt, status, event, reason)
    return ""


def _judged(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> AttemptStatus:
    """Return what a check's final reply stands for: it is held against what is expected."""
    expectation = turn.step_of(attempt).expectation
    if expectation is None or not isinstance(event, ReplyCompleted | ReplyFailed):
        return status
    return AttemptStatus.COMPLETED if is_met(expectation, event) else AttemptStatus.FAILED


def _consent(turn: Turn, attempt: Attempt, event: Approved) -> str:
    approval = turn.step(attempt.step_index).approval
    if approval is None:
        return f"attempt {event.attempt} needs no approval"
    if event.actor in attempt.approved_by:
        return f"{event.actor or 'this person'} has approved it already"
    if approval.is_not_self and event.actor == turn.deployment.actor:
        return f"it must be approved by another person than {event.actor or 'the one'} who started it"
    people = (*attempt.approved_by, event.actor)
    text = f"approved by {', '.join(people)}"
    if len(people) < approval.of:
        status = AttemptStatus.WAITING
        turn.put(replace(attempt, approved_by=people))
        turn.record(attempt, status, message=f"{text}; {approval.of - len(people)} more needed")
        return ""
    turn.record(attempt, AttemptStatus.COMPLETED, message=text)
    _complete(turn, turn.stop_timers(attempt), event)
    return ""


def _end_delay(turn: Turn, attempt: Attempt) -> None:
    turn.put(replace(attempt, timers=()))
    flow.go_on(turn)


def _progress(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> None:
    """Move an attempt on towards its end, and watch its next stretch."""
    step = turn.step_of(attempt)
    if status is AttemptStatus.SENT:
        turn.start_timer(replace(attempt, status=status), TimerKind.QUEUE, step.queue_timeout_s)
        return
    if status is not attempt.status:
        attempt = turn.begin(attempt)
        if step.timeout_s is not None:
            attempt = turn.start_timer(attempt, TimerKind.RUN, step.timeout_s)
    if isinstance(event, ReplyRunning):
        turn.start_timer(attempt, TimerKind.HEARTBEAT, HEARTBEAT_SILENCE_S)


def _settle(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent, reason: str) -> None:
    """End an attempt, and do what its outcome asks for."""
    attempt = turn.stop_timers(attempt)
    if isinstance(event, QueueTimedOut | RunTimedOut | HeartbeatLost):
        turn.tell_to_cancel(attempt, reason)
    if turn.deployment.status is DeploymentStatus.CANCELLING:
        turn.close(attempt.number, status)
        end_when_cancelled(turn)
    elif status is AttemptStatus.COMPLETED:
        _complete(turn, attempt, event)
    elif turn.is_winding_down():
        _settle_in_failure(turn, attempt, status, reason)
    elif status is AttemptStatus.UNKNOWN:
        _doubt(turn, attempt, reason, is_unconfirmed=isinstance(event, DispatchUnknown))
    elif attempt.role is Role.VERIFY:
        _settle_verification(turn, attempt, status, reason)
    else:
        _retry_or_fail(turn, attempt, reason)


def end_when_cancelled(turn: Turn) -> None:
    """End a deployment that is being cancelled once nothing is under way."""
    if not turn.deployment.attempts:
        turn.finish(Trigger.ATTEMPTS_OVER, turn.deployment.reason)


def _settle_in_failure(turn: Turn, attempt: Attempt, status: AttemptStatus, reason: str) -> None:
    """End an attempt of a deployment that has failed: nothing is tried again, nobody is asked."""
    if status in (AttemptStatus.UNKNOWN, AttemptStatus.CANCELLED):
        flow.leave_in_doubt(turn, attempt)
    else:
        flow.fail(turn, attempt, reason)
    flow.go_on(turn)


def _reason(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> str:
    """Return what is said of an attempt; why it ended badly, if it did, is never left open."""
    given = event_text(event)
    if status.is_live or status is AttemptStatus.COMPLETED:
        return given
    if isinstance(event, ReplyCompleted):
        return f"the reply is not what is expected: {given}" if given else "the reply is not what is expected"
    if given:
        return given
    step = turn.step_of(attempt)
    expires_s = step.approval.expires_s if step.approval else None
    usual: dict[type[Event], str] = {
        DispatchUnroutable: f"no queue is bound to worker.{step.command}",
        DispatchUnknown: "the message may or may not have reached the broker",
        QueueTimedOut: f"no worker took it: is worker.{step.command} running?",
        RunTimedOut: "the worker did not end within the step's timeout and may still be running",
        HeartbeatLost: f"the worker fell silent for {HEARTBEAT_SILENCE_S:g} s",
        CancelTimedOut: f"the worker did not answer the cancel within {CANCEL_GRACE_S:g} s",
        ApprovalExpired: f"nobody approved it within {expires_s or 0:g} s",
        Refused: f"{getattr(event, 'actor', '') or 'a person'} did not approve it",
    }
    return usual.get(type(event), f"the worker said {status} and gave no reason")


def _complete(turn: Turn, attempt: Attempt, event: Event) -> None:
    """Note that a step is done, or taken back, and go on."""
    if attempt.role is Role.ROLLBACK:
        turn.close(attempt.number)
        turn.change(tracks=(), rolled_back_count=turn.deployment.rolled_back_count + 1)
        flow.go_on(turn)
        return
    step = turn.step(attempt.step_index)
    turn.close(attempt.number, AttemptStatus.COMPLETED)
    if attempt.role is Role.STEP:
        flow.remember(turn, step, getattr(event, "data", None))
    else:
        flow.remember(turn, step, None)
    turn.notify_step(step, "completed")
    flow.pass_on(turn, _track(turn, attempt))
    flow.go_on(turn)


def _track(turn: Turn, attempt: Attempt) -> Track:
    return turn.deployment.track(attempt.step_index) or Track(index=attempt.step_index, tries=1)


def _retry_or_fail(turn: Turn, attempt: Attempt, reason: str) -> None:
    step, track = turn.step_of(attempt), _track(turn, attempt)
    failed = replace(track, failures=track.failures + 1)
    if step.retry is None or failed.failures >= step.retry.attempts or attempt.role is Role.APPROVAL:
        flow.fail(turn, attempt, reason)
    else:
        turn.close(attempt.number)
        delay_s = min(step.retry.backoff_s * 2 ** (failed.failures - 1), BACKOFF_CAP_S)
        tried = replace(failed, tries=track.tries + 1) if delay_s else failed
        turn.move_track(track, tried)
        if delay_s:
            flow.wait(turn, tried, attempt.role, delay_s)
    flow.go_on(turn)


def _doubt(turn: Turn, attempt: Attempt, reason: str, *, is_unconfirmed: bool) -> None:
    """Nobody knows whether the step took effect: do what it says under `on_unknown`."""
    policy, track = turn.step_of(attempt).on_unknown, _track(turn, attempt)
    if policy is OnUnknown.VERIFY and attempt.role is Role.STEP and not is_unconfirmed:
        turn.close(attempt.number)
        turn.open(track, Role.VERIFY)
    elif policy is OnUnknown.RETRY and track.tries < MAX_TRIES_IN_DOUBT:
        turn.close(attempt.number)
    elif policy is OnUnknown.FAIL or turn.deployment.is_unattended:
        flow.doubt(turn, attempt)
        flow.fail(turn, attempt, f"it is not known whether the step took effect: {reason}")
    else:
        turn.put(replace(attempt, status=AttemptStatus.UNKNOWN, is_unconfirmed=is_unconfirmed))
        turn.change(reason=reason)
    flow.go_on(turn)


def _settle_verification(turn: Turn, attempt: Attempt, status: AttemptStatus, reason: str) -> None:
    """A step in doubt was looked at and not found done: do it again, unless even that is not clear."""
    if status is AttemptStatus.FAILED and _track(turn, attempt).tries < MAX_TRIES_IN_DOUBT:
        turn.close(attempt.number)
        flow.go_on(turn)
    else:
        _doubt(turn, attempt, f"it could not be verified: {reason}", is_unconfirmed=False)


def decide(turn: Turn, event: Decided) -> str:
    """Carry out a person's decision; return why it is ignored, or an empty text."""
    attempt = turn.deployment.attempt(event.attempt)
    if attempt is None or attempt.status is not AttemptStatus.UNKNOWN:
        return f"attempt {event.attempt} waits for no decision"
    if event.decision not in _DECISIONS:
        return f"{event.decision!r} is no decision: {', '.join(Decision)}"
    _DECISIONS[event.decision](turn, attempt, event)
    return ""


def _retry(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.close(attempt.number)
    flow.go_on(turn)


def _skip(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.close(attempt.number)
    if attempt.role is Role.ROLLBACK:
        turn.change(tracks=())
    else:
        turn.change(skipped_count=turn.deployment.skipped_count + 1)
        flow.pass_on(turn, _track(turn, attempt))
    flow.go_on(turn)


def _give_up(turn: Turn, attempt: Attempt, event: Decided) -> None:
    flow.doubt(turn, attempt)
    flow.fail(turn, attempt, event_text(event) or f"decided by {event.actor or 'a person'}")
    flow.go_on(turn)


def _accept(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.record(attempt, AttemptStatus.COMPLETED, event, message=event_text(event))
    _complete(turn, attempt, event)


_DECISIONS: dict[Decision, Callable[[Turn, Attempt, Decided], None]] = {
    Decision.RETRY: _retry,
    Decision.SKIP: _skip,
    Decision.FAIL: _give_up,
    Decision.COMPLETE: _accept,
}

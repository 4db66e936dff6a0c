"""What is seen of an attempt, and what follows: answers, timeouts, doubts. What people say is in `people`."""

from __future__ import annotations

from reworker.fsm import conditions, flow, hosts
from reworker.fsm.changing import changed
from reworker.fsm.commands import TimerKind
from reworker.fsm.deployment import Attempt, Track
from reworker.fsm.events import (
    ApprovalExpired,
    AttemptEvent,
    CancelTimedOut,
    DelayEnded,
    DispatchUnknown,
    DispatchUnroutable,
    DomainChosen,
    Event,
    HeartbeatLost,
    QueueTimedOut,
    Refused,
    ReplyCompleted,
    ReplyFailed,
    ReplyRunning,
    ReplyUnknown,
    RunTimedOut,
)
from reworker.fsm.expectation import difference, is_met
from reworker.fsm.plan import Role
from reworker.fsm.playbook import Expectation, OnUnknown
from reworker.fsm.states import ATTEMPT_TRANSITIONS, AttemptStatus, DeploymentStatus, Trigger
from reworker.fsm.turn import REASON_CHARACTERS, Turn, event_text

#: dispatches of one step that may end in doubt before the machine stops to retry by itself; our choice.
MAX_TRIES_IN_DOUBT = 3
#: the same for a step that its worker says was never begun.
MAX_TRIES_UNBEGUN = 20

#: seconds of silence after which a worker that had sent heartbeats counts as lost; our choice, six beats.
HEARTBEAT_SILENCE_S = 60.0

#: seconds a worker has to answer a cancel before the deployment ends without it; our choice.
CANCEL_GRACE_S = 30.0

#: seconds between two tries of a step at most, however often its backoff has doubled; our choice.
BACKOFF_CAP_S = 3600.0

#: doublings after which any backoff is over the cap, or so small that it does not matter.
_MAX_DOUBLINGS = 60

#: A timer event counts only while its timer runs; one that was overtaken by an answer is ignored.
_TIMER_OF: dict[type[Event], TimerKind] = {
    QueueTimedOut: TimerKind.QUEUE,
    RunTimedOut: TimerKind.RUN,
    HeartbeatLost: TimerKind.HEARTBEAT,
    CancelTimedOut: TimerKind.CANCEL,
    DelayEnded: TimerKind.DELAY,
    ApprovalExpired: TimerKind.APPROVAL,
}

#: ends after which a step may have taken effect.
_DOUBTFUL = (AttemptStatus.UNKNOWN, AttemptStatus.CANCELLED)


def observe(turn: Turn, event: AttemptEvent) -> str:
    """Take in what was seen of an attempt; return why it is ignored, or an empty text."""
    kind = type(event)
    attempt = turn.deployment.attempt(event.attempt)
    if attempt is None:
        return f"{kind.__name__}: attempt {event.attempt} is not open"
    status = ATTEMPT_TRANSITIONS.get((attempt.status, kind.__name__))
    is_late = kind in _TIMER_OF and _TIMER_OF[kind] not in attempt.timers and not _is_old(attempt, event)
    is_settled = attempt.status is AttemptStatus.UNKNOWN and not attempt.is_unconfirmed
    if status is None or is_late or is_settled:
        return f"{kind.__name__}: attempt {event.attempt} is {attempt.status}"
    if isinstance(event, Refused) and attempt.role is not Role.APPROVAL:
        return f"attempt {event.attempt} needs no approval"
    if isinstance(event, DomainChosen):
        attempt = changed(attempt, domain=event.domain)
        turn.put(attempt)
        turn.record(attempt, status)
        return ""
    if isinstance(event, DelayEnded):
        turn.put(turn.stop_timers(attempt))
        flow.go_on(turn)
        return ""
    if attempt.is_unconfirmed or attempt.reason:
        attempt = changed(attempt, is_unconfirmed=False, reason="")
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
    if not isinstance(event, ReplyCompleted | ReplyFailed):
        return status
    expectation = turn.step_of(attempt).expectation
    if expectation is None:
        return status
    return AttemptStatus.COMPLETED if is_met(expectation, event) else AttemptStatus.FAILED


def _progress(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> None:
    """Move an attempt on towards its end, and watch its next stretch."""
    step = turn.step_of(attempt)
    if status is AttemptStatus.SENT:
        attempt = changed(turn.stop_timers(attempt), status=status)
        turn.start_timer(attempt, TimerKind.QUEUE, step.queue_timeout_s)
        return
    is_begun, was_queued = status is not attempt.status, attempt.is_queued_again
    again_in_s = event.again_in_s if isinstance(event, ReplyRunning) else 0.0
    if was_queued or again_in_s:
        attempt = changed(attempt, is_queued_again=again_in_s > 0)
    if is_begun:
        attempt = turn.begin(attempt)
        if step.timeout_s is not None:
            attempt = turn.start_timer(attempt, TimerKind.RUN, step.timeout_s)
    if (is_begun or was_queued) and turn.is_called_off():
        attempt = call_off(turn, attempt, turn.deployment.reason or "the deployment has timed out")
    if isinstance(event, ReplyRunning):
        silence_s = again_in_s + step.queue_timeout_s if again_in_s else 0.0
        turn.start_timer(attempt, TimerKind.HEARTBEAT, HEARTBEAT_SILENCE_S + silence_s)


def _is_old(attempt: Attempt, event: AttemptEvent) -> bool:
    """Tell whether an event is of a timer that only version 1 starts: of a cancel, for a step in a queue."""
    return isinstance(event, CancelTimedOut) and attempt.status is AttemptStatus.SENT


def call_off(turn: Turn, attempt: Attempt, reason: str) -> Attempt:
    """Have an attempt end soon: its worker is told to stop, and has a while to answer; return the attempt.

    One that waits in a queue ends with the timer of that: until then a worker may still begin it that was
    not there to be told. It is told then.
    """
    turn.tell_to_cancel(attempt, reason)
    if attempt.status is AttemptStatus.SENT or attempt.is_queued_again:
        return attempt
    return turn.start_timer(attempt, TimerKind.CANCEL, CANCEL_GRACE_S)


def _settle(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent, reason: str) -> None:
    """End an attempt, and do what its outcome asks for."""
    attempt = turn.stop_timers(attempt)
    if isinstance(event, QueueTimedOut | RunTimedOut | HeartbeatLost):
        turn.tell_to_cancel(attempt, reason)
    if turn.deployment.status is DeploymentStatus.CANCELLING:
        turn.close(attempt, status)
        end_when_cancelled(turn)
        return
    if status is AttemptStatus.COMPLETED:
        complete(turn, attempt, event)
    elif turn.is_winding_down():
        turn.call_back(changed(attempt, is_unconfirmed=isinstance(event, DispatchUnknown)), reason)
        fail(turn, attempt, reason, is_doubtful=_is_doubtful(turn, attempt, status))
    elif attempt.role is Role.VERIFY:
        _settle_verification(turn, attempt, status, reason)
    elif status is AttemptStatus.UNKNOWN:
        _doubt(turn, attempt, reason, event)
    else:
        _retry_or_fail(turn, attempt, status, reason)
    flow.go_on(turn)


def end_when_cancelled(turn: Turn) -> None:
    """End a deployment that is being cancelled once nothing is under way."""
    if not turn.deployment.attempts:
        turn.finish(Trigger.ATTEMPTS_OVER, turn.deployment.reason)


def complete(turn: Turn, attempt: Attempt, event: Event) -> None:
    """Note that a step is done, or taken back, and send its host on."""
    turn.close(attempt, AttemptStatus.COMPLETED)
    if attempt.role is Role.ROLLBACK:
        turn.change(tracks=())
        return
    step = turn.step(attempt.step_index)
    data = getattr(event, "data", None) if attempt.role is Role.STEP else None
    conditions.remember(turn, step, data)
    turn.notify_step(step, "completed")
    hosts.pass_on(turn, hosts.track_of(turn, attempt))


def fail(turn: Turn, attempt: Attempt, reason: str, *, is_doubtful: bool) -> None:
    """Note that a step failed for good, or cannot be taken back; `is_doubtful` as `hosts.fail` says."""
    if attempt.role is Role.ROLLBACK:
        flow.fail_rollback(turn, attempt, reason)
    else:
        hosts.fail(turn, attempt, reason, is_doubtful=is_doubtful)


def _is_doubtful(turn: Turn, attempt: Attempt, status: AttemptStatus) -> bool:
    """Tell whether a step may have taken effect, by an attempt that ended so or by an earlier one."""
    if attempt.role is Role.VERIFY:
        return status is not AttemptStatus.FAILED
    return status in _DOUBTFUL or hosts.track_of(turn, attempt).is_doubtful


def _retry_or_fail(turn: Turn, attempt: Attempt, status: AttemptStatus, reason: str) -> None:
    step, track = turn.step_of(attempt), hosts.track_of(turn, attempt)
    is_doubtful = _is_doubtful(turn, attempt, status)
    failed = changed(track, failures=track.failures + 1, is_doubtful=is_doubtful)
    if step.retry is None or failed.failures >= step.retry.attempts:
        fail(turn, attempt, reason, is_doubtful=is_doubtful)
        return
    turn.close(attempt)
    again = changed(failed, tries=track.tries + 1)
    turn.move_track(track, again)
    delay_s = step.retry.backoff_s * 2 ** min(failed.failures - 1, _MAX_DOUBLINGS)
    hosts.wait(turn, again, min(delay_s, BACKOFF_CAP_S))


def _doubt(turn: Turn, attempt: Attempt, reason: str, event: AttemptEvent) -> None:
    """Nobody knows whether the step took effect: do what it says under `on_unknown`."""
    step, track = turn.step_of(attempt), hosts.track_of(turn, attempt)
    if _never_began(attempt, event) and track.tries < MAX_TRIES_UNBEGUN:
        _go_back(turn, attempt, track)
        return
    is_unconfirmed = isinstance(event, DispatchUnknown)
    attempt = changed(attempt, is_unconfirmed=is_unconfirmed)
    # Nothing can be verified while the message may still lie in a queue.
    can_verify = attempt.role is Role.STEP and step.verify is not None and not is_unconfirmed
    if step.on_unknown is OnUnknown.VERIFY and can_verify:
        verified = changed(track, role=Role.VERIFY, is_doubtful=True)
        _go_back(turn, attempt, verified)
        if isinstance(event, RunTimedOut | HeartbeatLost):
            # Its worker may be at it still, and was told to stop: what is seen before that proves nothing.
            hosts.wait(turn, verified, CANCEL_GRACE_S)
    elif step.on_unknown is OnUnknown.RETRY and track.tries < MAX_TRIES_IN_DOUBT:
        turn.call_back(attempt, reason)
        _go_back(turn, attempt, changed(track, is_doubtful=True))
    elif step.on_unknown is OnUnknown.FAIL:
        turn.call_back(attempt, reason)
        fail(turn, attempt, _doubt_text(reason), is_doubtful=True)
    else:
        _ask(turn, attempt, reason)


def _never_began(attempt: Attempt, event: AttemptEvent) -> bool:
    """Tell whether a step is known not to have begun, though its message came back from who had it."""
    is_told = isinstance(event, ReplyUnknown) and event.unless_started
    return is_told and attempt.status is AttemptStatus.SENT


def _go_back(turn: Turn, attempt: Attempt, track: Track) -> None:
    """Have another attempt follow this one as soon as anything may be dispatched."""
    turn.close(attempt)
    turn.move_track(track, track)


def _ask(turn: Turn, attempt: Attempt, reason: str) -> None:
    """Leave the attempt to people; where nobody can be asked, that is a failure."""
    if turn.deployment.is_unattended:
        turn.call_back(attempt, reason)
        fail(turn, attempt, _doubt_text(reason), is_doubtful=True)
    else:
        turn.put(changed(attempt, status=AttemptStatus.UNKNOWN, reason=reason))


def _doubt_text(reason: str) -> str:
    return f"it is not known whether the step took effect: {reason}"


def _settle_verification(turn: Turn, attempt: Attempt, status: AttemptStatus, reason: str) -> None:
    """A step in doubt was looked at and not found done: do it again, unless even that is not clear."""
    track = hosts.track_of(turn, attempt)
    if status is not AttemptStatus.FAILED:
        text = f"it could not be verified: {reason}"
    elif track.tries < MAX_TRIES_IN_DOUBT:
        _go_back(turn, attempt, changed(track, role=Role.STEP, is_doubtful=False))
        return
    else:
        text = f"it was tried {track.tries} times and is not done: {reason}"
    # Whoever decides looks for an attempt in doubt, and this is the one.
    turn.record(attempt, AttemptStatus.UNKNOWN, message=text)
    _ask(turn, attempt, text)


def _reason(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> str:
    """Return what is said of an attempt; why it ended badly, if it did, is never left open."""
    given = event_text(event)
    if _never_began(attempt, event):
        return "it came back from a worker or a broker that was lost, and had not begun"
    if status.is_live or status is AttemptStatus.COMPLETED:
        return given
    expectation = turn.step_of(attempt).expectation
    if expectation is not None and isinstance(event, ReplyCompleted | ReplyFailed):
        return _unmet(expectation, event, given)
    return given or _usual_reason(turn, attempt, status, event)


def _unmet(expectation: Expectation, event: ReplyCompleted | ReplyFailed, given: str) -> str:
    text = f"the reply is not what is expected: {difference(expectation, event)}"
    if given and f'"{given}"' not in text:
        text += f"; it says: {given}"
    return text[:REASON_CHARACTERS]


def _usual_reason(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> str:
    step = turn.step_of(attempt)
    worker = f"worker.{attempt.domain}.{step.command}" if attempt.domain else f"worker.{step.command}"
    expires_s = step.approval.expires_s if step.approval else None
    usual: dict[type[Event], str] = {
        DispatchUnroutable: f"no queue is bound to {worker}",
        DispatchUnknown: "the message may or may not have reached the broker",
        QueueTimedOut: f"no worker took it: is {worker} running?",
        RunTimedOut: "the worker did not end within the step's timeout and may still be running",
        HeartbeatLost: f"the worker fell silent for {HEARTBEAT_SILENCE_S:g} s",
        CancelTimedOut: f"the worker did not answer the cancel within {CANCEL_GRACE_S:g} s",
        ApprovalExpired: f"nobody approved it within {expires_s or 0:g} s",
        Refused: f"{getattr(event, 'actor', '') or 'a person'} did not approve it",
    }
    return usual.get(type(event), f"the worker said {status} and gave no reason")

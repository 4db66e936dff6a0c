"""The machine: `reduce(plan, deployment, event)` gives the next snapshot and what to do.

Total and pure: it never raises on an event, and has no clock, random, I/O or logging. Time is `event.at`.
Where later features fit: `needs` and `strategy` in `_advance` (which step comes next), `when` and approvals
before `_dispatch`, `retry`, `verify` and `rollback` in `_settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from reworker.fsm.commands import Command, Ignored, TimerKind
from reworker.fsm.deployment import Attempt, Deployment, Failure
from reworker.fsm.events import (
    AttemptEvent,
    CancelRequested,
    CancelTimedOut,
    Decided,
    Decision,
    DispatchUnknown,
    DispatchUnroutable,
    Event,
    HeartbeatLost,
    PauseRequested,
    QueueTimedOut,
    ReplyRunning,
    ResumeRequested,
    RunTimedOut,
    Submitted,
)
from reworker.fsm.plan import Plan
from reworker.fsm.playbook import OnUnknown
from reworker.fsm.states import ATTEMPT_TRANSITIONS, AttemptStatus, DeploymentStatus, Trigger
from reworker.fsm.turn import Turn, event_text

#: dispatches of one step that may end in doubt before the machine stops to retry by itself; our choice.
MAX_TRIES_IN_DOUBT = 3

#: seconds of silence after which a worker that had sent heartbeats counts as lost; our choice, six beats.
HEARTBEAT_SILENCE_S = 60.0

#: seconds a worker has to answer a cancel before the deployment ends without it; our choice.
CANCEL_GRACE_S = 30.0

#: A timer event counts only while its timer runs; one that was overtaken by an answer is ignored.
_TIMER_OF: dict[type[Event], TimerKind] = {
    QueueTimedOut: TimerKind.QUEUE,
    RunTimedOut: TimerKind.RUN,
    HeartbeatLost: TimerKind.HEARTBEAT,
    CancelTimedOut: TimerKind.CANCEL,
}


def reduce(plan: Plan, deployment: Deployment, event: Event) -> tuple[Deployment, tuple[Command, ...]]:
    """Return the deployment after the event, and the commands to carry out in this order.

    An event that does not fit changes nothing: the same deployment comes back with one `Ignored`.
    """
    turn = Turn(plan, deployment, event.at)
    refusal = _apply(turn, event)
    if refusal:
        return deployment, (Ignored(reason=refusal),)
    return turn.deployment, tuple(turn.commands)


def replay(plan: Plan, deployment_id: str, events: Iterable[Event]) -> Deployment:
    """Return the snapshot that the events of a deployment lead to, beginning with `Submitted`."""
    deployment = Deployment(id=deployment_id)
    for event in events:
        deployment, _ = reduce(plan, deployment, event)
    return deployment


def _apply(turn: Turn, event: Event) -> str:
    """Do what the event asks for; return why it is ignored, or an empty text."""
    if turn.deployment.status.is_terminal:
        return f"the deployment has already ended: {turn.deployment.status}"
    if isinstance(event, Decided):
        return _decide(turn, event)
    if isinstance(event, AttemptEvent):
        return _observe(turn, event)
    if type(event) not in _REQUESTS:
        return f"{type(event).__name__} is not an event of this version"
    trigger, act = _REQUESTS[type(event)]
    if not turn.move(trigger):
        return f"cannot {trigger} a deployment that is {turn.deployment.status}"
    act(turn, event)
    return ""


def _submit(turn: Turn, event: Event) -> None:
    is_unattended = turn.plan.is_unattended or (isinstance(event, Submitted) and event.unattended)
    turn.change(created_at=event.at, started_at=event.at, is_unattended=is_unattended)
    _go_on(turn)


def _pause(turn: Turn, event: Event) -> None:
    """Nothing more: a paused deployment dispatches nothing."""


def _resume(turn: Turn, event: Event) -> None:
    _go_on(turn)


def _cancel(turn: Turn, event: Event) -> None:
    reason = event_text(event) or "cancelled on request"
    turn.change(reason=reason)
    for attempt in turn.deployment.attempts:
        turn.tell_to_cancel(attempt, reason)
        if attempt.status.is_live:
            turn.start_timer(attempt, TimerKind.CANCEL, CANCEL_GRACE_S)
        else:
            turn.close(attempt.number)
    _end_when_cancelled(turn)


def _end_when_cancelled(turn: Turn) -> None:
    if not turn.deployment.attempts:
        turn.finish(Trigger.ATTEMPTS_OVER, turn.deployment.reason)


_REQUESTS: dict[type[Event], tuple[Trigger, Callable[[Turn, Event], None]]] = {
    Submitted: (Trigger.SUBMIT, _submit),
    PauseRequested: (Trigger.PAUSE, _pause),
    ResumeRequested: (Trigger.RESUME, _resume),
    CancelRequested: (Trigger.CANCEL, _cancel),
}


def _observe(turn: Turn, event: AttemptEvent) -> str:
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
    if attempt.status is AttemptStatus.UNKNOWN:
        _end_doubt(turn)
        attempt = replace(attempt, is_unconfirmed=False)
    reason = _reason(turn, attempt, status, event)
    turn.record(attempt, status, event, reason)
    if status.is_live:
        _progress(turn, attempt, status, event)
    else:
        _settle(turn, attempt, status, event, reason)
    return ""


def _progress(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> None:
    """Move an attempt on towards its end, and watch its next stretch."""
    step = turn.step(attempt.step_index)
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
    if isinstance(event, (QueueTimedOut, RunTimedOut, HeartbeatLost)):
        turn.tell_to_cancel(attempt, reason)
    if turn.deployment.status is DeploymentStatus.CANCELLING:
        turn.close(attempt.number, status)
        _end_when_cancelled(turn)
    elif status is AttemptStatus.COMPLETED:
        _complete(turn, attempt)
    elif status is AttemptStatus.UNKNOWN:
        _doubt(turn, attempt, reason, is_unconfirmed=isinstance(event, DispatchUnknown))
    else:
        _fail(turn, attempt, reason)


def _reason(turn: Turn, attempt: Attempt, status: AttemptStatus, event: AttemptEvent) -> str:
    """Return what is said of an attempt; why it ended badly, if it did, is never left open."""
    given = event_text(event)
    if given or status.is_live or status is AttemptStatus.COMPLETED:
        return given
    command = turn.step(attempt.step_index).command
    usual: dict[type[Event], str] = {
        DispatchUnroutable: f"no queue is bound to worker.{command}",
        DispatchUnknown: "the message may or may not have reached the broker",
        QueueTimedOut: f"no worker took it: is worker.{command} running?",
        RunTimedOut: "the worker did not end within the step's timeout and may still be running",
        HeartbeatLost: f"the worker fell silent for {HEARTBEAT_SILENCE_S:g} s",
        CancelTimedOut: f"the worker did not answer the cancel within {CANCEL_GRACE_S:g} s",
    }
    return usual.get(type(event), f"the worker said {status} and gave no reason")


def _complete(turn: Turn, attempt: Attempt) -> None:
    turn.close(attempt.number, AttemptStatus.COMPLETED)
    turn.notify_step(turn.step(attempt.step_index), "completed")
    _advance(turn)


def _fail(turn: Turn, attempt: Attempt, reason: str) -> None:
    step = turn.step(attempt.step_index)
    turn.close(attempt.number, AttemptStatus.FAILED)
    turn.change(
        failure=Failure(
            step_index=step.index, host=step.host, step=step.key, attempt=attempt.number, reason=reason
        )
    )
    turn.notify_step(step, "failed", reason)
    turn.notify_sequence(step, "failed", f"{step.key} on {step.host}: {reason}")
    turn.finish(Trigger.STEP_FAILED, reason)


def _doubt(turn: Turn, attempt: Attempt, reason: str, *, is_unconfirmed: bool) -> None:
    """Nobody knows whether the step took effect: do what it says under `on_unknown`."""
    policy = turn.step(attempt.step_index).on_unknown
    if policy is OnUnknown.RETRY and turn.deployment.tries < MAX_TRIES_IN_DOUBT:
        turn.close(attempt.number)
        _go_on(turn)
    elif policy is OnUnknown.FAIL or turn.deployment.is_unattended:
        _fail(turn, attempt, f"it is not known whether the step took effect: {reason}")
    else:
        turn.put(replace(attempt, status=AttemptStatus.UNKNOWN, is_unconfirmed=is_unconfirmed))
        turn.change(reason=reason)
        turn.move(Trigger.DOUBT)


def _end_doubt(turn: Turn) -> None:
    turn.move(Trigger.ANSWER)
    turn.change(reason="")


def _decide(turn: Turn, event: Decided) -> str:
    """Carry out a person's decision; return why it is ignored, or an empty text."""
    attempt = turn.deployment.attempt(event.attempt)
    if attempt is None or attempt.status is not AttemptStatus.UNKNOWN:
        return f"attempt {event.attempt} waits for no decision"
    if event.decision not in _DECISIONS:
        return f"{event.decision!r} is no decision: {', '.join(Decision)}"
    _end_doubt(turn)
    _DECISIONS[event.decision](turn, attempt, event)
    return ""


def _retry(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.close(attempt.number)
    _go_on(turn)


def _skip(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.close(attempt.number)
    turn.change(skipped_count=turn.deployment.skipped_count + 1)
    _advance(turn)


def _give_up(turn: Turn, attempt: Attempt, event: Decided) -> None:
    _fail(turn, attempt, event_text(event) or f"decided by {event.actor or 'a person'}")


def _accept(turn: Turn, attempt: Attempt, event: Decided) -> None:
    turn.record(attempt, AttemptStatus.COMPLETED, event, event_text(event))
    _complete(turn, attempt)


_DECISIONS: dict[Decision, Callable[[Turn, Attempt, Decided], None]] = {
    Decision.RETRY: _retry,
    Decision.SKIP: _skip,
    Decision.FAIL: _give_up,
    Decision.COMPLETE: _accept,
}


def _advance(turn: Turn) -> None:
    """Step past the step at `position`, which is done or skipped."""
    step = turn.step(turn.deployment.position)
    if step.is_last_of_sequence:
        turn.notify_sequence(step, "completed")
    turn.change(position=step.index + 1, tries=0)
    if turn.deployment.position < turn.plan.step_count:
        turn.move(Trigger.STEP_DONE)
    _go_on(turn)


def _go_on(turn: Turn) -> None:
    """Do what comes next where the deployment stands: ask, end, or dispatch."""
    now = turn.deployment
    if now.attempts:
        if any(not attempt.status.is_live for attempt in now.attempts):
            turn.move(Trigger.DOUBT)
    elif now.position >= turn.plan.step_count:
        turn.finish(Trigger.PLAN_DONE)
    elif now.status is DeploymentStatus.RUNNING:
        _dispatch(turn)


def _dispatch(turn: Turn) -> None:
    step = turn.step(turn.deployment.position)
    if turn.deployment.tries == 0:
        if step.is_first_of_sequence:
            turn.notify_sequence(step, "started")
        turn.notify_step(step, "started")
    turn.open(step)

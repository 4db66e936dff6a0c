"""The machine: `reduce(plan, deployment, event)` gives the next snapshot and what to do.

Total and pure: it never raises on an event, and has no clock, random, I/O or logging. Time is `event.at`.
`attempts` says what follows from what is seen of an attempt, `people` from what is said of it; `flow` and
`hosts` say what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reworker.fsm import attempts, flow, people, ranges
from reworker.fsm.commands import Command, Ignored, RequestLocks, StartTimer, TimerKind
from reworker.fsm.deployment import FORMAT, Deployment, Failure
from reworker.fsm.events import (
    Approved,
    AttemptEvent,
    CancelRequested,
    Decided,
    DeploymentTimedOut,
    Event,
    LocksAwaited,
    LocksDue,
    LocksGranted,
    PauseRequested,
    ResumeRequested,
    Submitted,
)
from reworker.fsm.plan import Plan
from reworker.fsm.states import AttemptStatus, DeploymentStatus, Stage, Trigger
from reworker.fsm.turn import Turn, event_text


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
        return people.decide(turn, event)
    if isinstance(event, Approved):
        return people.approve(turn, event)
    if isinstance(event, AttemptEvent):
        return attempts.observe(turn, event)
    act = _ACTS.get(type(event))
    if act is None:
        return f"{type(event).__name__} is not an event of this version"
    return act(turn, event)


def _submit(turn: Turn, event: Submitted) -> str:
    if turn.deployment.created_at is not None:
        return "the deployment was submitted before"
    # Whatever the event says, no step can be outside of the plan, or both done and left out.
    done = ranges.below(event.done, turn.plan.step_count)
    left_out = ranges.without(ranges.below(event.left_out, turn.plan.step_count), done)
    turn.change(
        format=FORMAT,
        created_at=event.at,
        actor=event.actor,
        is_unattended=turn.plan.is_unattended or event.unattended,
        completed=done,
        completed_count=ranges.count(done),
        left_out=left_out,
        skipped_count=ranges.count(left_out),
        facts=event.facts,
    )
    if turn.plan.locks:
        turn.do(RequestLocks())
    else:
        _start(turn)
    return ""


def _start(turn: Turn) -> None:
    turn.move(Trigger.START)
    turn.change(started_at=turn.at, reason="")
    if turn.plan.timeout_s is not None:
        turn.do(StartTimer(kind=TimerKind.DEPLOYMENT, attempt=0, after_s=turn.plan.timeout_s))
        turn.change(timers=(TimerKind.DEPLOYMENT,))
    turn.give_notice("started")
    flow.begin_stage(turn, Stage.CHECKS)
    flow.go_on(turn)


def _is_queued(turn: Turn) -> bool:
    """Tell whether the deployment waits for its locks."""
    now = turn.deployment
    return now.status is DeploymentStatus.QUEUED and now.created_at is not None


def _take_locks(turn: Turn, event: LocksGranted) -> str:
    if not _is_queued(turn):
        return "the deployment does not wait for locks"
    turn.change(fence=event.fence)
    _start(turn)
    return ""


def _await_locks(turn: Turn, event: LocksAwaited) -> str:
    if not _is_queued(turn):
        return "the deployment does not wait for locks"
    kind, _, name = event.lock.partition(":")
    reason = f"waits for {kind} {name}, which deployment {event.holder} holds or asked for first"
    if reason == turn.deployment.reason:
        return "it waits for the same lock"
    turn.change(reason=reason)
    return ""


def _try_locks(turn: Turn, event: LocksDue) -> str:
    if not _is_queued(turn):
        return "the deployment does not wait for locks"
    turn.do(RequestLocks())
    return ""


def _pause(turn: Turn, event: Event) -> str:
    """Dispatch nothing new; what is under way may end."""
    return "" if turn.move(Trigger.PAUSE) else _refusal(turn, Trigger.PAUSE)


def _resume(turn: Turn, event: Event) -> str:
    if not turn.move(Trigger.RESUME):
        return _refusal(turn, Trigger.RESUME)
    flow.go_on(turn)
    return ""


def _cancel(turn: Turn, event: Event) -> str:
    if not turn.move(Trigger.CANCEL):
        return _refusal(turn, Trigger.CANCEL)
    reason = event_text(event) or "cancelled on request"
    turn.change(reason=reason)
    turn.stop_own_timers()
    for attempt in turn.deployment.attempts:
        if attempt.status is AttemptStatus.WAITING:
            turn.drop(attempt, reason)
            continue
        if attempt.status.is_live:
            attempts.call_off(turn, attempt, reason)
        else:
            turn.tell_to_cancel(attempt, reason)
            turn.close(attempt)
    attempts.end_when_cancelled(turn)
    return ""


def _time_out(turn: Turn, event: DeploymentTimedOut) -> str:
    """Fail the deployment as a whole: what is under way is told to stop."""
    now = turn.deployment
    if TimerKind.DEPLOYMENT not in now.timers:
        return "the deployment's timeout does not run"
    reason = f"it did not end within its timeout of {turn.plan.timeout_s or 0:g} s"
    turn.change(failure=Failure(step_index=-1, host="", step="", attempt=0, reason=reason))
    for state in now.sequences:
        turn.notify_sequence(state.index, "failed", reason)
    for attempt in now.attempts:
        if attempt.status.is_live:
            attempts.call_off(turn, attempt, reason)
    flow.go_on(turn)
    return ""


def _refusal(turn: Turn, trigger: Trigger) -> str:
    return f"cannot {trigger} a deployment that is {turn.deployment.status}"


_ACTS: dict[type[Event], Callable[[Turn, Any], str]] = {
    Submitted: _submit,
    LocksGranted: _take_locks,
    LocksAwaited: _await_locks,
    LocksDue: _try_locks,
    DeploymentTimedOut: _time_out,
    PauseRequested: _pause,
    ResumeRequested: _resume,
    CancelRequested: _cancel,
}
